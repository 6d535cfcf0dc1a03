"""Secrets are told once: no log, no answer to anything else, no event and no table has one."""

import pytest
from starlette.testclient import TestClient

from jobs import tables
from jobs.database import Database
from jobs.logs import configure_logging
from tests.api.given import CATS, admin, problem


def everything_in(database: Database) -> str:
    """Every value of every table, as text."""
    with database.read() as connection:
        return "\n".join(
            str(tuple(row))
            for table in tables.metadata.sorted_tables
            for row in connection.execute(table.select())
        )


def test_no_secret_is_kept_logged_or_told_again(
    locked: TestClient, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging("console", "info")
    headers = admin(database)
    wrong = "tsk_" + "w" * 43
    body = {"name": "notebook", "scopes": ["read"]}
    once = {**headers, "Idempotency-Key": "once"}

    dataset = locked.post("/v1/datasets", json=CATS, headers=headers).json()
    made = locked.post("/v1/api-keys", json=body, headers=once).json()
    token = locked.post(f"/v1/jobs/{dataset['job_id']}/stream-tokens", headers=headers).json()
    told = [
        locked.post("/v1/api-keys", json=body, headers=once).text,
        locked.get("/v1/api-keys", headers=headers).text,
        locked.get(f"/v1/jobs/{dataset['job_id']}/events", headers=headers).text,
        locked.post("/v1/datasets", content=b"{", headers=headers).text,
        locked.get(f"/v1/jobs?state={wrong}", headers={"X-API-Key": wrong}).text,
    ]
    problem(locked.get("/v1/jobs", headers={"X-API-Key": wrong}), 401, "unauthenticated")
    locked.head(token["url"])
    locked.get(f"/v1/jobs/job_1/stream?token={token['token']}")

    secrets = [headers["Authorization"].removeprefix("Bearer "), made["secret"], token["token"]]
    places = {
        "answers": "\n".join(told),
        "the log": "".join(capfd.readouterr()),
        "the database": everything_in(database),
    }
    assert dataset["job_id"] in places["the log"]
    assert dataset["job_id"] in places["the database"]
    for place, text in places.items():
        for secret in (*secrets, wrong):
            assert secret not in text, (place, secret[:8])
