"""Sources on other machines: what they look like is judged at once, and nothing is fetched."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from jobs import store
from jobs.database import Database
from jobs.keys import Scope
from jobs.settings import Settings
from tests.api.given import CATS, REGEX, bearer, get, problem
from tests.archives import a_zip
from tests.web_server import WebServer, a_file, serving

PATH = "/v1/datasets"
DRY = f"{PATH}?dry_run=true"
DIGEST = "ab" * 32


def of_url(url: str, **further: object) -> dict[str, Any]:
    return {**CATS, "source": {"type": "url", "url": url, **further}}


def of_store(url: str, kind: str = "s3") -> dict[str, Any]:
    return {**CATS, "source": {"type": kind, "url": url}}


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving() as server:
        server.answers["/pets.zip"] = a_file(a_zip())
        yield server


@pytest.fixture
def allowing(settings: Settings) -> Iterator[TestClient]:
    """A client of a service that may fetch from this machine and from a bucket."""
    allowed = {"private_targets": ("127.0.0.0/8",), "remote_roots": ("s3://photos/pets",)}
    app = create_app(settings.model_copy(update=allowed))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def test_an_address_is_registered_without_being_fetched(
    allowing: TestClient, database: Database, server: WebServer
) -> None:
    body = of_url(server.url("/pets.zip"), sha256=DIGEST)

    response = allowing.post(PATH, json=body)

    dataset = response.json()
    assert response.status_code == 202, response.text
    assert dataset["source"] == body["source"]
    assert store.get(database, dataset["job_id"]).spec["request"]["source"] == body["source"]
    assert server.asked == []


def test_a_public_name_is_accepted_without_asking_a_name_server(client: TestClient) -> None:
    response = client.post(PATH, json=of_url("https://nowhere.invalid/pets.zip"))

    assert response.status_code == 202, response.text


@pytest.mark.parametrize("url", ["s3://photos/pets", "s3://photos/pets/", "s3://photos/pets/a.zip"])
def test_a_place_below_an_allowed_root_is_registered(allowing: TestClient, url: str) -> None:
    assert allowing.post(PATH, json=of_store(url)).status_code == 202


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "scheme is 'file'"),
        ("ftp://example.org/pets.zip", "scheme is 'ftp'"),
        ("s3://photos/pets.zip", "scheme is 's3'"),
        ("https://ana:secret@example.org/pets.zip", "user before an @"),
        ("http://127.0.0.1/pets.zip", "127.0.0.1 is not a public address"),
        ("http://[::1]/pets.zip", "::1 is not a public address"),
        ("http://localhost/pets.zip", "localhost leads to 127.0.0.1"),
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254 is not a public address"),
        ("http://2852039166/latest/meta-data", "is a number"),
        ("https://example.org:25/", "port is 25"),
        ("/etc/passwd", "no address of the form"),
    ],
)
@pytest.mark.parametrize("path", [PATH, DRY])
def test_an_address_that_nobody_may_call_is_refused_at_once(
    client: TestClient, path: str, url: str, why: str
) -> None:
    body = problem(client.post(path, json=of_url(url)), 422, "source_forbidden", "/source/url")

    assert why in body["detail"]
    assert "secret" not in str(body)


@pytest.mark.parametrize(
    ("kind", "url", "why"),
    [
        ("s3", "s3://photos/private", "outside the allowed places (s3://photos/pets)"),
        ("s3", "s3://photos/petsitter", "outside the allowed places"),
        ("s3", "s3://photos/pets/../private", "a step that is . or .."),
        ("s3", "s3://photos", "outside the allowed places"),
        ("s3", "gs://photos/pets", "must begin with s3://"),
        ("s3", "file:///etc/passwd", "must begin with s3://"),
        ("s3", "s3://photos/pets/a.zip::file:///etc/passwd", "has '::'"),
        ("s3", "s3:///pets", "names no bucket"),
        ("s3", "s3://key:secret@photos/pets", "names no bucket"),
        ("gs", "gs://photos/pets", "outside the allowed places"),
        ("az", "az://photos/pets", "outside the allowed places"),
    ],
)
def test_a_place_that_the_operator_has_not_allowed_is_refused_at_once(
    allowing: TestClient, kind: str, url: str, why: str
) -> None:
    answer = allowing.post(PATH, json=of_store(url, kind))

    assert why in problem(answer, 422, "source_forbidden", "/source/url")["detail"]


def test_no_place_is_allowed_without_a_setting(client: TestClient) -> None:
    answer = client.post(PATH, json=of_store("s3://photos/pets"))

    detail = problem(answer, 422, "source_forbidden", "/source/url")["detail"]
    assert "TUNESMITH_REMOTE_ROOTS" in detail


@pytest.mark.parametrize("kind", ["file", "local", "memory", "ftp", "http", "github", "sftp"])
def test_other_protocols_are_no_sources(client: TestClient, kind: str) -> None:
    answer = client.post(PATH, json=of_store(f"{kind}://photos/pets", kind))

    problem(answer, 422, "validation_failed", "/source/type")


@pytest.mark.parametrize(
    ("source", "pointer"),
    [
        ({"type": "url"}, "/source/url"),
        ({"type": "url", "url": ""}, "/source/url"),
        ({"type": "url", "url": "https://e.org/" + "a" * 2048}, "/source/url"),
        ({"type": "url", "url": "https://e.org/a.zip", "sha256": "AB"}, "/source/sha256"),
        ({"type": "url", "url": "https://e.org/a.zip", "headers": {}}, "/source/headers"),
        ({"type": "s3", "url": "s3://photos/a.zip", "sha256": DIGEST}, "/source/sha256"),
        ({"type": "s3", "url": "s3://photos/a", "key": "k", "secret": "s"}, "/source/key"),
        ({"type": "s3", "url": "s3://photos/a", "endpoint_url": "x"}, "/source/endpoint_url"),
    ],
)
def test_a_field_works_or_is_refused(
    client: TestClient, source: dict[str, Any], pointer: str
) -> None:
    """Credentials and endpoints are the operator's, and no request has a place for them."""
    problem(client.post(PATH, json={**CATS, "source": source}), 422, "validation_failed", pointer)


def test_a_dry_run_says_that_no_name_is_known_yet(allowing: TestClient, server: WebServer) -> None:
    for body in (of_url(server.url("/pets.zip")), of_store("s3://photos/pets")):
        answer = allowing.post(DRY, json=body)

        plan = answer.json()
        assert answer.status_code == 200, answer.text
        assert (plan["names"], plan["is_complete"], plan["obstacles"]) == (0, False, [])
        assert plan["counts"] is None
        assert "not known before the import" in plan["note"]
    assert server.asked == []


def test_a_dry_run_of_names_that_are_known_needs_no_note(client: TestClient) -> None:
    assert client.post(DRY, json=CATS).json()["note"] is None


def test_a_dry_run_refuses_a_broken_pattern_all_the_same(client: TestClient) -> None:
    broken = {**of_url("https://example.org/a.zip"), "labels": {**REGEX, "pattern": "^(.+_"}}

    problem(client.post(DRY, json=broken), 422, "invalid_regex", "/labels/pattern")
    problem(client.post(PATH, json=broken), 422, "invalid_regex", "/labels/pattern")


def test_a_training_may_name_such_a_dataset(allowing: TestClient, server: WebServer) -> None:
    body = {"dataset": of_url(server.url("/pets.zip")), "architecture": "resnet18",
            "weights": "none"}  # fmt: skip

    plan = allowing.post("/v1/fine-tunes?dry_run=true", json=body)
    job = allowing.post("/v1/fine-tunes", json=body)
    refused = allowing.post("/v1/fine-tunes", json={**body, "dataset": of_url("http://10.0.0.1/")})

    assert plan.status_code == 200, plan.text
    assert job.status_code == 202, job.text
    problem(refused, 422, "source_forbidden", "/dataset/source/url")


def test_what_is_fetched_belongs_to_whoever_asked(locked: TestClient, database: Database) -> None:
    ana = bearer(database, Scope.DATASETS_WRITE, Scope.READ, owner="ana")
    ben = bearer(database, Scope.DATASETS_WRITE, Scope.READ, owner="ben")

    made = locked.post(PATH, json=of_url("https://example.org/a.zip?token=secret"), headers=ana)

    place = f"{PATH}/{made.json()['id']}"
    assert get(locked, place, **ana)["source"]["url"].endswith("?token=secret")
    problem(locked.get(place, headers=ben), 404, "not_found")
