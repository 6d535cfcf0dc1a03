"""What holds on every path: HEAD, OPTIONS, unknown parameters, compression, other origins."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import Response
from starlette.testclient import TestClient

from api.app import create_app
from api.deprecation import going
from api.openapi_document import derived_document
from jobs.database import Database
from jobs.job import JobState
from jobs.settings import Settings, SettingsError, load_settings
from tests.api.given import get, problem, ready_dataset
from tests.jobs import given

PAGE = "https://app.example.com"


@pytest.fixture
def opened_to_a_page(settings: Settings) -> Iterator[TestClient]:
    """A service that pages of one other origin may use."""
    shared = settings.model_copy(update={"cors_origins": (PAGE,)})
    with TestClient(create_app(shared), base_url="http://127.0.0.1") as client:
        yield client


# --- methods --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/queue", "/healthz", "/openapi.json", "/docs"])
def test_head_has_the_headers_of_get_and_no_body(client: TestClient, path: str) -> None:
    read, head = client.get(path), client.head(path)

    assert head.status_code == read.status_code == 200
    assert head.content == b""
    kept = ("content-type", "content-length")
    assert [head.headers[name] for name in kept] == [read.headers[name] for name in kept]


def test_head_of_what_is_missing_has_its_status(client: TestClient) -> None:
    head = client.head("/v1/jobs/job_none")

    assert (head.status_code, head.content) == (404, b"")


def test_head_of_a_stream_ends_behind_its_headers(client: TestClient, database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    head = client.head(f"/v1/jobs/{job.id}/stream")

    assert head.status_code == 200
    assert head.headers["content-type"].startswith("text/event-stream")
    assert head.content == b""


def test_options_tells_every_method_of_a_path(client: TestClient, database: Database) -> None:
    job = given.a_job(database)

    assert _options(client, f"/v1/jobs/{job.id}") == "DELETE, GET, HEAD, OPTIONS, PATCH"
    assert _options(client, f"/v1/jobs/{job.id}/cancel") == "OPTIONS, POST"
    assert client.put(f"/v1/jobs/{job.id}").headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"


def test_options_of_what_is_missing_is_a_problem(client: TestClient) -> None:
    problem(client.options("/v1/nonsense"), 404, "not_found")


def _options(client: TestClient, path: str) -> str:
    answer = client.options(path)
    assert (answer.status_code, answer.content) == (204, b"")
    return str(answer.headers["allow"])


# --- the query string -----------------------------------------------------------------------


def test_a_misspelt_parameter_is_refused_and_the_right_one_named(client: TestClient) -> None:
    body = problem(client.get("/v1/jobs?stat=queued&limit=5"), 422, "validation_failed")

    (wrong,) = body["errors"]
    assert wrong["pointer"] == "/query/stat"
    assert wrong["code"] == "unknown_parameter"
    assert wrong["did_you_mean"] == ["state"]
    assert {"state", "type", "limit", "after", "metadata"} <= set(wrong["allowed"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/queue"),
        ("POST", "/v1/explain/labels"),
        ("POST", "/v1/fine-tunes"),
        ("DELETE", "/v1/jobs/job_1"),
    ],
)
def test_no_operation_ignores_a_parameter_that_it_does_not_have(
    client: TestClient, method: str, path: str
) -> None:
    body = problem(client.request(method, f"{path}?dryrun=true"), 422, "validation_failed")

    assert [error["pointer"] for error in body["errors"]] == ["/query/dryrun"]


def test_every_parameter_that_is_documented_is_accepted(client: TestClient) -> None:
    """Whatever it says to the value, it does not call the parameter unknown."""
    document = client.get("/openapi.json").json()
    asked = 0
    for path, operations in document["paths"].items():
        for parameter in _query_of(operations.get("get", {})):
            name = parameter["name"]
            name += "[key]" if parameter.get("style") == "deepObject" else ""
            answer = client.get(path, params={name: "1"})
            if answer.status_code == 422:
                codes = {error["code"] for error in answer.json().get("errors", [])}
                assert "unknown_parameter" not in codes, (path, name)
            asked += 1
    assert asked > 20


def test_a_key_of_metadata_is_a_parameter_of_lists_of_jobs_alone(client: TestClient) -> None:
    assert get(client, "/v1/jobs?metadata[owner]=ana")["data"] == []
    problem(client.get("/v1/uploads?metadata[owner]=ana"), 422, "validation_failed")
    for malformed in ("metadata[owner", "metadata[]", "metadata[owner]x"):
        problem(client.get(f"/v1/jobs?{malformed}=ana"), 422, "validation_failed")


def _query_of(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in operation.get("parameters", []) if each["in"] == "query"]


# --- reading again --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/v1/datasets/{dataset}", "/v1/datasets?limit=1", "/v1/architectures", "/openapi.json"]
)
def test_a_json_answer_is_sent_once_to_a_client_that_keeps_it(
    client: TestClient, database: Database, path: str
) -> None:
    dataset = ready_dataset(database)
    url = path.format(dataset=dataset.id)
    first = client.get(url)
    known = {"If-None-Match": first.headers["etag"]}

    again, head = client.get(url, headers=known), client.head(url, headers=known)
    client.patch(f"/v1/datasets/{dataset.id}", json={"name": "renamed"})
    edited = client.get(url, headers=known)

    assert first.headers["etag"].startswith('W/"')
    for answer in (again, head):
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == first.headers["etag"]
        assert "content-type" not in answer.headers
    assert edited.status_code == (200 if "datasets" in path else 304)


def test_what_is_no_success_or_comes_in_pieces_has_no_tag(
    client: TestClient, database: Database
) -> None:
    job = given.job_in(database, JobState.FAILED)

    missing = client.get("/v1/jobs/job_none", headers={"If-None-Match": "*"})
    stream = client.get(f"/v1/jobs/{job.id}/stream", headers={"If-None-Match": "*"})

    assert (missing.status_code, stream.status_code) == (404, 200)
    assert "etag" not in missing.headers
    assert "etag" not in stream.headers


# --- compression ----------------------------------------------------------------------------


def test_long_answers_are_compressed_for_clients_that_can_read_them(client: TestClient) -> None:
    plain = client.get("/openapi.json", headers={"Accept-Encoding": "identity"})

    with client.stream("GET", "/openapi.json", headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())

    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["vary"]
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 3


def test_short_answers_and_streams_are_sent_as_they_are(
    client: TestClient, database: Database
) -> None:
    job = given.job_in(database, JobState.FAILED)
    for path in ("/healthz", f"/v1/jobs/{job.id}/stream"):
        answer = client.get(path, headers={"Accept-Encoding": "gzip"})

        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers


# --- pages of other origins -----------------------------------------------------------------


def test_a_page_of_an_allowed_origin_may_read_and_write(opened_to_a_page: TestClient) -> None:
    names = {"name": ["a_1.jpg"], "pattern": r"^(.+)_\d+\.jpg$"}
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}

    asked = opened_to_a_page.options("/v1/explain/labels", headers=asks)
    answer = opened_to_a_page.post("/v1/explain/labels", json=names, headers={"Origin": PAGE})

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
    assert answer.status_code != 403


def test_a_page_of_an_allowed_origin_may_read_what_went_wrong(
    opened_to_a_page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr("api.routes.queue.presence.present", explode)

    answer = opened_to_a_page.get("/v1/queue", headers={"Origin": PAGE})

    problem(answer, 500, "internal")
    assert answer.headers["access-control-allow-origin"] == PAGE


def test_any_other_page_may_neither(opened_to_a_page: TestClient, client: TestClient) -> None:
    other = {"Origin": "https://evil.example"}
    for service in (opened_to_a_page, client):
        read = service.get("/v1/jobs", headers=other)
        written = service.post("/v1/explain/labels", json={}, headers=other)
        asked = service.options(
            "/v1/explain/labels", headers={**other, "Access-Control-Request-Method": "POST"}
        )

        for answer in (read, written, asked):
            assert "access-control-allow-origin" not in answer.headers
        problem(written, 403, "forbidden")
        problem(asked, 403, "forbidden")


@pytest.mark.parametrize("wrong", ["app.example.com", f"{PAGE}/path", "*", "ftp://app.example.com"])
def test_what_is_no_origin_is_refused_at_start(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"TUNESMITH_CORS_ORIGINS: .* is no origin"):
        load_settings(cors_origins=wrong)


# --- what is to go --------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "status"), [("", 200), ("?limit=x", 422)])
def test_a_path_that_is_to_go_says_so_whatever_it_answers(
    settings: Settings, query: str, status: int
) -> None:
    app = create_app(settings)

    @app.get(
        "/v1/old",
        **going(
            since=datetime(2026, 1, 1, tzinfo=UTC),
            sunset=datetime(2027, 1, 1, tzinfo=UTC),
            see="/docs#new",
        ),
    )
    def old(limit: int = 1) -> Response:
        return Response(headers={"Link": '</v1/old>; rel="next"'})

    document = derived_document(app)
    app.openapi = lambda: document  # type: ignore[method-assign]  # the kept one has no such path

    with TestClient(app, base_url="http://127.0.0.1") as client:
        answers = [client.request(method, f"/v1/old{query}") for method in ("GET", "HEAD")]
        untouched = client.get("/v1/queue")

    assert document["paths"]["/v1/old"]["get"]["deprecated"] is True
    for answer in answers:
        assert answer.status_code == status
        # 2026-01-01T00:00:00Z in seconds since 1970
        assert answer.headers["deprecation"] == "@1767225600"
        assert answer.headers["sunset"] == "Fri, 01 Jan 2027 00:00:00 GMT"
        assert '</docs#new>; rel="deprecation"; type="text/html"' in answer.headers["link"]
    assert "deprecation" not in untouched.headers


def test_nothing_goes_before_it_was_deprecated() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    with pytest.raises(ValueError, match="is before the deprecation"):
        going(since=now, sunset=now - timedelta(days=1), see="/docs")
