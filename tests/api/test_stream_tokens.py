"""What a stream token opens, and what it does not."""

import pytest
from starlette.testclient import TestClient

from jobs import store, stream_tokens, tables, verbs
from jobs.database import Database
from jobs.job import JobState
from jobs.keys import Scope
from jobs.stream_tokens import VALID_BEHIND_END_MS
from tests.api.given import Headers, bearer, problem
from tests.jobs import given


@pytest.fixture
def ana(database: Database) -> Headers:
    """A key that may read, and nothing else."""
    return bearer(database, Scope.READ, owner="ana")


def job_of(database: Database, owner: str, state: JobState = JobState.SUCCEEDED) -> str:
    """The id of an owner's job."""
    job = given.job_in(database, state)
    given.set_columns(database, job.id, owner=owner)
    return job.id


def token_for(client: TestClient, job_id: str, key: Headers) -> dict[str, str]:
    answer = client.post(f"/v1/jobs/{job_id}/stream-tokens", headers=key)
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made


def test_a_page_watches_a_job_with_the_address_that_it_was_given(
    locked: TestClient, database: Database, ana: Headers
) -> None:
    job_id = job_of(database, "ana")
    made = token_for(locked, job_id, ana)

    answer = locked.get(made["url"])

    assert answer.status_code == 200
    assert "event: job.succeeded" in answer.text
    assert made["url"] == f"/v1/jobs/{job_id}/stream?token={made['token']}"


def test_a_token_opens_nothing_but_its_jobs_stream(
    locked: TestClient, database: Database, ana: Headers
) -> None:
    job_id, other = job_of(database, "ana"), job_of(database, "ana")
    query = {"token": token_for(locked, job_id, ana)["token"]}

    for method, path in [
        ("GET", f"/v1/jobs/{other}/stream"),
        ("GET", f"/v1/jobs/{job_id}"),
        ("GET", f"/v1/jobs/{job_id}/events"),
        ("GET", f"/v1/jobs/{job_id}/stream/"),
        ("POST", f"/v1/jobs/{job_id}/cancel"),
        ("POST", f"/v1/jobs/{job_id}/stream-tokens"),
    ]:
        problem(locked.request(method, path, params=query), 401, "unauthenticated")


@pytest.mark.parametrize("token", ["", "tst_", "x" * 5000, "\ud800"])
def test_what_was_never_a_token_opens_nothing(
    locked: TestClient, database: Database, token: str
) -> None:
    job_id = job_of(database, "ana")
    shown = token.encode("utf-8", "surrogatepass").decode("latin-1")

    answer = locked.get(f"/v1/jobs/{job_id}/stream", params={"token": shown})

    problem(answer, 401, "unauthenticated")


def test_a_token_is_good_until_ten_minutes_after_the_end(
    locked: TestClient, database: Database, ana: Headers
) -> None:
    job_id = job_of(database, "ana")
    url = token_for(locked, job_id, ana)["url"]
    ended_ms = given.column(database, job_id, "finished_ms")

    given.set_columns(database, job_id, finished_ms=ended_ms - VALID_BEHIND_END_MS + 60_000)
    assert locked.get(url).status_code == 200
    given.set_columns(database, job_id, finished_ms=ended_ms - VALID_BEHIND_END_MS - 1)
    problem(locked.get(url), 401, "unauthenticated")

    # what is spent goes with the next one that is made
    token_for(locked, job_of(database, "ana"), ana)
    assert _tokens(database) == 1


def test_nobody_gets_a_token_for_what_they_do_not_see(
    locked: TestClient, database: Database, ana: Headers
) -> None:
    job_id = job_of(database, "ben")

    problem(locked.post(f"/v1/jobs/{job_id}/stream-tokens", headers=ana), 404, "not_found")
    assert _tokens(database) == 0


def test_a_token_is_not_in_the_database_and_goes_with_its_job(database: Database) -> None:
    job = given.a_job(database)
    token = stream_tokens.create(database, job.id)
    with database.read() as connection:
        (row,) = connection.execute(tables.stream_tokens.select())
    assert token not in str(row)

    verbs.cancel(database, job.id)
    assert stream_tokens.opens(database, token, job.id)
    store.delete_job(database, job.id)

    assert _tokens(database) == 0


def test_without_keys_a_token_is_made_and_not_needed(
    client: TestClient, database: Database
) -> None:
    job_id = job_of(database, "local")

    assert client.get(token_for(client, job_id, {})["url"]).status_code == 200
    assert client.get(f"/v1/jobs/{job_id}/stream").status_code == 200


def _tokens(database: Database) -> int:
    with database.read() as connection:
        return len(connection.execute(tables.stream_tokens.select()).all())
