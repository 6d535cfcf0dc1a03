"""Cursors: signed by the installation, good for one list, its sort and its filters."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from jobs import cursor_keys, tables
from jobs.artifacts import Artifacts
from jobs.cursor_keys import KEPT_FOR_MS, SIGNS_FOR_MS
from jobs.database import Database
from tests.api.given import evaluated, get, problem, ready_dataset
from tests.jobs import given

SIGNATURE = "A" * 22
"""Of the length that cursors have."""


@pytest.fixture
def three(database: Database) -> list[str]:
    """The ids of three jobs, newest first."""
    return [given.a_job(database).id for _ in range(3)][::-1]


def cursor_of(client: TestClient, path: str) -> str:
    """The cursor behind the list's first entry."""
    return str(get(client, path)["next_cursor"])


def age_keys(database: Database, by_ms: int) -> None:
    """All keys were made so much earlier."""
    made = tables.cursor_keys.c.created_ms
    with database.write() as connection:
        connection.execute(update(tables.cursor_keys).values(created_ms=made - by_ms))


def test_a_cursor_leads_to_the_next_page_and_so_does_an_id(
    client: TestClient, three: list[str]
) -> None:
    first = client.get("/v1/jobs?limit=1")
    cursor = first.json()["next_cursor"]

    by_cursor = get(client, f"/v1/jobs?limit=2&after={cursor}")
    by_id = get(client, f"/v1/jobs?limit=2&after={three[0]}")
    by_link = get(client, first.headers["link"].partition(">")[0].removeprefix("<"))

    assert [job["id"] for job in by_cursor["data"]] == three[1:]
    assert by_id["data"] == by_cursor["data"]
    assert [job["id"] for job in by_link["data"]] == three[1:2]
    assert by_cursor["next_cursor"] is None


@pytest.mark.parametrize(
    "path",
    ["/v1/jobs?state=queued", "/v1/jobs?sort=created_at", "/v1/datasets", "/v1/jobs?type=lr_find"],
)
def test_a_cursor_of_another_list_is_refused(
    client: TestClient, three: list[str], path: str
) -> None:
    cursor = cursor_of(client, "/v1/jobs?limit=1")
    join = "&" if "?" in path else "?"

    answer = client.get(f"{path}{join}after={cursor}")

    body = problem(answer, 422, "validation_failed", "/query/after")
    assert "with this sort and these filters; begin again without it" in body["detail"]


def test_a_cursor_of_another_job_is_refused(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    one, other = (evaluated(database, artifacts, dataset).id for _ in range(2))
    cursor = cursor_of(client, f"/v1/jobs/{one}/samples?limit=1")

    answer = client.get(f"/v1/jobs/{other}/samples?after={cursor}")

    problem(answer, 422, "validation_failed", "/query/after")


def test_a_cursor_that_was_changed_is_refused(client: TestClient, three: list[str]) -> None:
    text, _, signature = cursor_of(client, "/v1/jobs?limit=1").partition(".")
    content = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    forged = urlsafe_b64encode(content.replace(three[0], three[1]).encode()).decode().rstrip("=")

    answer = client.get(f"/v1/jobs?after={forged}.{signature}")

    assert "was changed" in problem(answer, 422, "validation_failed", "/query/after")["detail"]


@pytest.mark.parametrize(
    "cursor",
    [
        *(".", "x.y", "W10.W10", "é.x"),
        *(f"{text}.{SIGNATURE}" for text in ("x", "W10", "bnVsbA", "WzEsMiwzXQ")),
    ],
)
def test_what_is_no_cursor_at_all_is_refused(client: TestClient, cursor: str) -> None:
    problem(client.get(f"/v1/jobs?after={cursor}"), 422, "validation_failed", "/query/after")


def test_a_cursor_outlives_the_time_in_which_its_key_signs(
    client: TestClient, database: Database, three: list[str]
) -> None:
    before = cursor_of(client, "/v1/jobs?limit=1")
    age_keys(database, SIGNS_FOR_MS + 1)
    after = cursor_of(client, "/v1/jobs?limit=1")

    assert before != after
    pages = [get(client, f"/v1/jobs?after={cursor}")["data"] for cursor in (before, after)]
    assert pages[0] == pages[1]


def test_a_cursor_whose_key_has_expired_is_refused(
    client: TestClient, database: Database, three: list[str]
) -> None:
    cursor = cursor_of(client, "/v1/jobs?limit=1")
    age_keys(database, KEPT_FOR_MS + 1)

    answer = client.get(f"/v1/jobs?after={cursor}")

    body = problem(answer, 422, "validation_failed", "/query/after")
    assert "signed by a key that has expired" in body["detail"]


def test_a_new_key_takes_expired_ones_away(database: Database) -> None:
    old = cursor_keys.signing(database)
    age_keys(database, KEPT_FOR_MS + 1)

    new = cursor_keys.signing(database)

    assert cursor_keys.find(database, old.id) is None
    assert cursor_keys.find(database, new.id) == new == cursor_keys.signing(database)
    with database.read() as connection:
        assert len(connection.execute(tables.cursor_keys.select()).all()) == 1


def test_a_cursor_holds_nothing_of_its_key(
    client: TestClient, database: Database, three: list[str]
) -> None:
    cursor = cursor_of(client, "/v1/jobs?limit=1")

    text = urlsafe_b64decode(cursor.partition(".")[0] + "==").decode()

    assert cursor_keys.signing(database).secret.hex() not in text
