"""Who may ask for what: keys, scopes, owners, and that no route is forgotten."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import update
from starlette.testclient import TestClient

from api.app import create_app
from api.auth import Guard
from api.gate import LastUses
from api.main import NoUsableKeyError, serve
from api.openapi_document import derived_document
from jobs import keys, tables, uploads, webhooks
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.ids import JobId, new_upload_id
from jobs.job import JobType
from jobs.keys import Scope
from jobs.owners import TABLE_OF
from jobs.settings import Settings, child_environment
from jobs.uploads import Received
from tests.api import given
from tests.api.given import Headers, admin, bearer, get, problem

OPEN = {"/", "/healthz", "/readyz", "/version", "/docs", "/redoc", "/openapi.json"} | {
    "/problems/{slug}"
}
OWNERLESS = {"name", "file_format", "item_id", "key_id", "delivery_id"}
"""Parameters of paths that name nothing of an owner's own."""
LR_FIND = {"architecture": "resnet18", "weights": "none", "num_steps": 20}
SAMPLE = {
    "name": "cats",
    "source": {"type": "sample"},
    "labels": {"rule": "regex", "pattern": "^(.+)_\\d+\\.jpg$"},
}


def given_to(database: Database, owner: str) -> None:
    """All there is belongs to this owner."""
    with database.write() as connection:
        for table in TABLE_OF.values():
            connection.execute(update(table).values(owner=owner))


def operations(app: FastAPI) -> list[tuple[str, str]]:
    """Every method and path that the application answers."""
    return [
        (method, route.path or "")
        for route in iter_route_contexts(app.routes)
        for method in sorted(route.methods or ())
        if method != "HEAD"
    ]


def parameters(path: str) -> set[str]:
    """The names in braces."""
    return {part.partition("}")[0].partition(":")[0] for part in path.split("{")[1:]}


def filled(path: str, **ids: str) -> str:
    """The path of something; what is not given is called x."""
    for name in parameters(path):
        path = path.replace(f"{{{name}}}", ids.get(name, "x"))
    return path


def test_every_route_is_open_on_purpose_or_guarded(settings: Settings) -> None:
    for route in iter_route_contexts(create_app(settings).routes):
        if not isinstance(route.original_route, APIRoute):
            assert route.path in {*OPEN, "/docs-static", "/static"}, route.path
            continue
        guards = [use for use in route.dependant.dependencies if isinstance(use.call, Guard)]
        assert len(guards) == (0 if route.path in OPEN else 1), route.path


def test_every_name_in_a_path_is_that_of_an_owned_thing_or_of_none(settings: Settings) -> None:
    owned = {f"{kind}_id" for kind in TABLE_OF}

    for _, path in operations(create_app(settings)):
        if path not in OPEN:
            assert parameters(path) <= owned | OWNERLESS, path


def test_without_a_key_every_guarded_route_answers_401(locked: TestClient) -> None:
    app = locked.app
    assert isinstance(app, FastAPI)
    for method, path in operations(app):
        answer = locked.request(method, filled(path), follow_redirects=False)

        if path in OPEN:
            assert answer.status_code != 401, path
            continue
        body = problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == 'Bearer realm="tunesmith"'
        assert "Authorization: Bearer tsk_" in body["detail"]


@pytest.mark.parametrize("path", ["/v1/nonsense", "/v1/jobs/"])
def test_without_a_key_nobody_learns_which_paths_exist(locked: TestClient, path: str) -> None:
    problem(locked.get(path), 401, "unauthenticated")


def test_without_a_key_no_body_is_read(locked: TestClient) -> None:
    headers = {"Content-Type": "application/json"}

    answer = locked.post("/v1/datasets", content=b"{ no json", headers=headers)

    problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize("name", ["bearer", "header"])
def test_a_key_is_taken_from_either_header(
    locked: TestClient, database: Database, name: str
) -> None:
    headers = bearer(database, Scope.READ)
    if name == "header":
        headers = {"X-API-Key": headers["Authorization"].removeprefix("Bearer ")}

    assert get(locked, "/v1/jobs", **headers)["data"] == []


@pytest.mark.parametrize(
    "credentials",
    ["Bearer", "Bearer x", f"Bearer tsk_{'a' * 43}", "bearer tsk_é", "Bearer  a b"],
)
def test_a_key_that_nobody_made_is_refused(locked: TestClient, credentials: str) -> None:
    headers = {"Authorization": credentials.encode("latin-1")}

    answer = locked.get("/v1/jobs", headers=headers)

    body = problem(answer, 401, "unauthenticated")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "unknown, expired or revoked" in body["detail"]


def test_another_scheme_is_no_key(locked: TestClient) -> None:
    answer = locked.get("/v1/jobs", auth=("ana", "secret"))

    problem(answer, 401, "unauthenticated")


def test_an_expired_key_is_refused(locked: TestClient, database: Database) -> None:
    headers = bearer(database, Scope.READ)
    with database.write() as connection:
        connection.execute(update(tables.api_keys).values(expires_ms=1))

    problem(locked.get("/v1/jobs", headers=headers), 401, "unauthenticated")


def test_a_revoked_key_is_refused_from_the_next_request_on(
    locked: TestClient, database: Database
) -> None:
    headers = bearer(database, Scope.READ)
    get(locked, "/v1/jobs", **headers)
    keys.revoke(database, next(iter(keys.usable_ids(database))))

    problem(locked.get("/v1/jobs", headers=headers), 401, "unauthenticated")


def test_a_database_that_is_away_is_no_wrong_key(with_keys: Settings, tmp_path: Path) -> None:
    away = with_keys.model_copy(update={"database_url": f"sqlite:///{tmp_path}/empty.db"})
    headers = {"X-API-Key": "tsk_" + "a" * 43}

    with TestClient(create_app(away), base_url="http://127.0.0.1") as client:
        problem(client.get("/v1/jobs", headers=headers), 503, "unavailable")


def test_a_key_that_may_read_writes_nothing(locked: TestClient, database: Database) -> None:
    headers = bearer(database, Scope.READ)
    app = locked.app
    assert isinstance(app, FastAPI)
    for method, path in operations(app):
        if path in OPEN or method == "GET" or path.startswith("/v1/explain/"):
            continue
        if path.endswith("/stream-tokens"):
            # it lets a page read what the key may read
            continue
        answer = locked.request(method, filled(path), headers=headers)

        body = problem(answer, 403, "forbidden")
        needed = body["scope"]
        assert needed in {"jobs:write", "datasets:write", "admin"}
        assert body["detail"] == f"this needs a key with the scope {needed}"
        assert f'scope="{needed}"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("scope", "datasets", "jobs"),
    [(Scope.DATASETS_WRITE, 202, 403), (Scope.JOBS_WRITE, 403, 202), (Scope.ADMIN, 202, 202)],
)
def test_a_scope_allows_to_write_its_own_kind(
    locked: TestClient, database: Database, *, scope: Scope, datasets: int, jobs: int
) -> None:
    dataset = given.ready_dataset(database)
    headers = bearer(database, scope, owner="local")

    made = locked.post("/v1/datasets", json=SAMPLE, headers=headers)
    job = locked.post("/v1/lr-finds", json=LR_FIND | {"dataset": dataset.id}, headers=headers)

    assert (made.status_code, job.status_code) == (datasets, jobs)


@pytest.mark.parametrize("scope", [Scope.READ, Scope.JOBS_WRITE, Scope.DATASETS_WRITE])
def test_every_scope_allows_to_read_and_to_ask_for_explanations(
    locked: TestClient, database: Database, scope: Scope
) -> None:
    headers = bearer(database, scope)
    question = {"activations": [[0.0, 0.0]], "targets": [0]}

    assert get(locked, "/v1/queue", **headers)
    answer = locked.post("/v1/explain/cross-entropy", json=question, headers=headers)
    assert answer.status_code == 200


@pytest.fixture
def of_bo(database: Database, artifacts: Artifacts) -> dict[str, str]:
    """A job, a dataset, a model, an upload and a webhook of another owner."""
    dataset = given.ready_dataset(database)
    given.items(dataset, artifacts)
    model = given.a_model(database, artifacts, dataset)
    job = given.evaluated(database, artifacts, dataset)
    archive = Received(filename="a.zip", format="zip", digest="ab" * 32, size_bytes=1)
    with database.write() as connection:
        upload = uploads.add(connection, new_upload_id(), archive, owner="bo")
        hook = webhooks.create(
            connection, owner="bo", url="https://example.org/", events=["job.failed"], most=1
        ).webhook
    given_to(database, "bo")
    made: dict[str, str] = {"job": job.id, "dataset": dataset.id}
    made |= {"model": model.id, "upload": upload.id, "webhook": hook.id}
    # a kind of thing that is added is checked, too
    assert set(made) == set(TABLE_OF)
    return {f"{kind}_id": identifier for kind, identifier in made.items()}


def test_things_of_another_owner_are_not_there_whatever_is_asked(
    locked: TestClient, database: Database, of_bo: dict[str, str]
) -> None:
    headers = bearer(database, Scope.JOBS_WRITE, Scope.DATASETS_WRITE, owner="ana")
    app = locked.app
    assert isinstance(app, FastAPI)
    asked = 0
    for method, path in operations(app):
        if parameters(path).isdisjoint(of_bo):
            continue
        theirs = locked.request(method, filled(path, **of_bo), headers=headers)
        nobodys = locked.request(method, filled(path), headers=headers)

        their_words = problem(theirs, 404, "not_found")["detail"]
        for identifier in of_bo.values():
            their_words = their_words.replace(identifier, "x")
        assert problem(nobodys, 404, "not_found")["detail"] == their_words
        asked += 1
    assert asked > 20


def test_an_admin_sees_the_things_of_all(
    locked: TestClient, database: Database, of_bo: dict[str, str]
) -> None:
    headers = admin(database)
    for path in (
        *("/v1/jobs/{job_id}", "/v1/jobs/{job_id}/events", "/v1/jobs/{job_id}/stream"),
        *("/v1/jobs/{job_id}/samples", "/v1/datasets/{dataset_id}/items"),
        *("/v1/models/{model_id}", "/v1/models/{model_id}/download"),
    ):
        assert locked.get(filled(path, **of_bo), headers=headers).status_code == 200, path


@pytest.mark.parametrize("noun", ["jobs", "datasets", "models"])
def test_lists_show_the_things_of_the_owner(
    locked: TestClient, database: Database, of_bo: dict[str, str], noun: str
) -> None:
    def shown(headers: Headers) -> int:
        return len(get(locked, f"/v1/{noun}", **headers)["data"])

    theirs = shown(bearer(database, Scope.READ, owner="bo"))

    assert theirs > 0
    assert shown(bearer(database, Scope.READ, owner="ana")) == 0
    assert shown(admin(database)) == theirs


def test_a_new_dataset_and_its_import_belong_to_the_owner(
    locked: TestClient, database: Database
) -> None:
    headers = bearer(database, Scope.DATASETS_WRITE, owner="ana")

    made = locked.post("/v1/datasets", json=SAMPLE, headers=headers).json()

    assert get(locked, f"/v1/datasets/{made['id']}", **headers)["id"] == made["id"]
    assert get(locked, f"/v1/jobs/{made['job_id']}", **headers)["id"] == made["job_id"]
    others = bearer(database, Scope.READ, owner="bo")
    problem(locked.get(f"/v1/datasets/{made['id']}", headers=others), 404, "not_found")


def test_an_idempotency_key_counts_for_its_owner_alone(
    locked: TestClient, database: Database
) -> None:
    def create(owner: str) -> str:
        headers = bearer(database, Scope.DATASETS_WRITE, owner=owner)
        answer = locked.post(
            "/v1/datasets", json=SAMPLE, headers=headers | {"Idempotency-Key": "k"}
        )
        return str(answer.json()["id"])

    assert create("ana") == create("ana")
    assert create("ana") != create("bo")


def test_without_keys_everything_belongs_to_local(client: TestClient, database: Database) -> None:
    dataset: Dataset = given.ready_dataset(database)
    given_to(database, "bo")

    made = client.post("/v1/datasets", json=SAMPLE).json()

    assert get(client, f"/v1/datasets/{dataset.id}")["id"] == dataset.id
    assert get(client, "/v1/api-keys")["data"] == []
    assert JobId(made["job_id"]) in [job["id"] for job in get(client, "/v1/jobs")["data"]]


def test_the_use_of_a_key_is_written_down(database: Database, with_keys: Settings) -> None:
    headers = bearer(database, Scope.READ)

    with TestClient(create_app(with_keys), base_url="http://127.0.0.1") as client:
        get(client, "/v1/jobs", **headers)

    assert keys.list_keys(database, limit=1)[0].last_used_ms is not None


def test_a_use_that_cannot_be_written_down_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    database = Database(f"sqlite:///{tmp_path}/empty.db")

    with LastUses(database) as uses:
        for key_id in ("key_1", "key_1", "key_2"):
            uses.note(key_id)

    database.close()
    logged = "".join(capfd.readouterr())
    assert logged.count("last_use_lost") >= 1
    assert logged.count("key_1") == 1


def test_the_log_names_the_key_of_a_request(
    locked: TestClient, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    get(locked, "/v1/jobs", **bearer(database, Scope.READ))

    assert next(iter(keys.usable_ids(database))) in "".join(capfd.readouterr())


def test_the_documentation_has_both_ways_to_send_a_key(settings: Settings) -> None:
    document = derived_document(create_app(settings))

    schemes = document["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert (schemes["header"]["in"], schemes["header"]["name"]) == ("header", "X-API-Key")
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if path in OPEN:
                assert "security" not in operation, path
            else:
                assert operation["security"] == [{"bearer": []}, {"header": []}], path
                assert {"401", "403"} <= set(operation["responses"]), path


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("photos.example.org:8000", 200), ("0.0.0.0", 403), ("evil.example", 403)],  # noqa: S104
)
def test_a_service_on_every_address_answers_to_loopback_and_allowed_names(
    with_keys: Settings, host: str, status: int
) -> None:
    everywhere = {"host": "0.0.0.0", "allowed_hosts": ("photos.example.org",)}  # noqa: S104
    app = create_app(with_keys.model_copy(update=everywhere))

    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/healthz", headers={"Host": host}).status_code == status


def test_without_a_usable_key_nothing_is_served(with_keys: Settings, database: Database) -> None:
    admin(database)
    with database.write() as connection:
        connection.execute(update(tables.api_keys).values(expires_ms=1))

    with pytest.raises(NoUsableKeyError, match=r"tunesmith migrate.*tunesmith keys create"):
        serve(with_keys)


def test_the_process_ends_with_one_line_when_there_is_no_key(with_keys: Settings) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings = with_keys.model_copy(update={"port": free.getsockname()[1]})

    ended = subprocess.run(
        [sys.executable, "-m", "api.main"],
        env=child_environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("cannot start: requests need an API key")


def test_a_job_of_the_callers_own_can_be_acted_on(locked: TestClient, database: Database) -> None:
    job = given.queued(database, JobType.LR_FIND, given.ready_dataset(database))
    given_to(database, "ana")
    headers = bearer(database, Scope.JOBS_WRITE, owner="ana")

    answer = locked.post(f"/v1/jobs/{job.id}/cancel", headers=headers)

    assert answer.json()["state"] == "cancelled"
