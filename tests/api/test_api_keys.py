"""API keys over HTTP: made, read and revoked by an admin, their secrets told once."""

from itertools import chain

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from jobs import tables
from jobs.database import Database
from tests.api.given import admin, get, problem


def test_an_admin_makes_reads_and_revokes_keys(locked: TestClient, database: Database) -> None:
    headers = admin(database)
    body = {"name": "notebook", "owner": "ana", "scopes": ["jobs:write"]}

    answer = locked.post("/v1/api-keys", json=body, headers=headers)
    made = answer.json()
    own = answer.headers["location"]

    assert (answer.status_code, own) == (201, f"/v1/api-keys/{made['id']}")
    assert answer.headers["cache-control"] == "no-store"
    assert made["secret"].startswith(made["prefix"])
    read = get(locked, own, **headers)
    assert read == {name: value for name, value in made.items() if name != "secret"}
    assert get(locked, "/v1/api-keys", **headers)["data"][0] == read
    assert locked.delete(own, headers=headers).status_code == 204
    assert get(locked, own, **headers)["revoked_at"] is not None
    problem(locked.get("/v1/jobs", headers={"X-API-Key": made["secret"]}), 401, "unauthenticated")


def test_a_repeated_create_makes_one_key_and_shows_its_secret_once(client: TestClient) -> None:
    body, headers = {"name": "n", "scopes": ["read"]}, {"Idempotency-Key": "k"}

    first = client.post("/v1/api-keys", json=body, headers=headers)
    again = client.post("/v1/api-keys", json=body, headers=headers)

    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json() | {"secret": None}
    assert len(get(client, "/v1/api-keys")["data"]) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scopes", []),
        ("scopes", ["everything"]),
        ("owner", "ana b"),
        ("name", ""),
        ("expires_at", "2020-01-01T00:00:00Z"),
        ("expires_at", "2120-01-01T00:00:00"),
    ],
)
def test_a_key_that_could_not_be_used_is_not_made(
    client: TestClient, field: str, value: object
) -> None:
    body = {"name": "n", "scopes": ["read"]} | {field: value}

    answer = client.post("/v1/api-keys", json=body)

    pointers = [each["pointer"] for each in problem(answer, 422, "validation_failed")["errors"]]
    assert pointers[0].startswith(f"/{field}")
    assert get(client, "/v1/api-keys")["data"] == []


def test_a_key_may_expire(client: TestClient) -> None:
    body = {"name": "n", "scopes": ["read"], "expires_at": "2120-01-01T01:00:00+01:00"}

    made = client.post("/v1/api-keys", json=body).json()

    assert made["expires_at"] == "2120-01-01T00:00:00.000Z"


def test_an_admin_cannot_lock_everybody_out(locked: TestClient, database: Database) -> None:
    headers = admin(database)
    own = get(locked, "/v1/api-keys", **headers)["data"][0]["links"]["self"]

    body = problem(locked.delete(own, headers=headers), 409, "last_admin_key")

    assert "create one first" in body["detail"]
    assert get(locked, own, **headers)["revoked_at"] is None


def test_no_secret_is_in_the_database_or_the_log(
    locked: TestClient, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    headers = admin(database) | {"Idempotency-Key": "k"}
    body = {"name": "n", "scopes": ["read"]}

    made = locked.post("/v1/api-keys", json=body, headers=headers).json()
    get(locked, "/v1/jobs", **{"X-API-Key": made["secret"]})
    locked.get("/v1/jobs?token=tsk_in_the_query", headers={"X-API-Key": made["secret"]})
    locked.get("/v1/jobs", headers={"X-API-Key": made["secret"] + "x"})

    with database.read() as connection:
        every_row = chain.from_iterable(
            connection.execute(select(table)) for table in tables.metadata.sorted_tables
        )
        dump = "\n".join(str(tuple(row)) for row in every_row)
    written = "".join(capfd.readouterr()) + dump
    assert made["id"] in written
    assert headers["Authorization"].removeprefix("Bearer ") not in written
    assert made["secret"] not in written
    assert "tsk_in_the_query" not in written
