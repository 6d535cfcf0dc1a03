import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from jobs import idempotency, store, tables
from jobs.database import Database
from jobs.errors import IdempotencyInProgressError, IdempotencyKeyReusedError
from jobs.idempotency import Claim, StoredAnswer, fingerprint
from jobs.job import JobType
from tests.jobs import given

CLAIM = Claim(scope="local POST /v1/lr-finds", key="k1", fingerprint=fingerprint({"a": 1}))
OTHER_BODY = Claim(scope=CLAIM.scope, key="k1", fingerprint=fingerprint({"a": 2}))


def post(database: Database, claim: Claim) -> StoredAnswer:
    """What a route does: one transaction with the key, the job and the answer."""
    with database.write() as connection:
        stored = idempotency.begin(connection, claim)
        if stored is not None:
            return stored
        job = store.submit(
            connection, JobType.LR_FIND, given.SPECS[JobType.LR_FIND], dataset_id="ds_1"
        )
        answer = StoredAnswer(
            status=202, headers={"Location": f"/v1/jobs/{job.id}"}, body=json.dumps({"id": job.id})
        )
        idempotency.complete(connection, claim, answer)
        return answer


def number_of_jobs(database: Database) -> int:
    return len(store.list_jobs(database, store.JobFilter(), after=None, limit=100))


def test_an_equal_request_gets_the_first_answer(database: Database) -> None:
    first = post(database, CLAIM)

    assert post(database, CLAIM) == first
    assert idempotency.find(database, CLAIM) == first
    assert number_of_jobs(database) == 1


def test_another_request_with_the_same_key_is_refused(database: Database) -> None:
    post(database, CLAIM)

    with pytest.raises(IdempotencyKeyReusedError, match="'k1' was already used"):
        post(database, OTHER_BODY)
    with pytest.raises(IdempotencyKeyReusedError):
        idempotency.find(database, OTHER_BODY)
    assert number_of_jobs(database) == 1


@pytest.mark.parametrize(
    "claim",
    [
        Claim(scope=CLAIM.scope, key="k2", fingerprint=CLAIM.fingerprint),
        Claim(scope="local POST /v1/fine-tunes", key="k1", fingerprint=CLAIM.fingerprint),
    ],
)
def test_another_key_or_path_is_another_request(claim: Claim, database: Database) -> None:
    post(database, CLAIM)

    assert idempotency.find(database, claim) is None
    post(database, claim)
    assert number_of_jobs(database) == 2


def test_twenty_equal_requests_at_once_make_one_job_and_get_one_answer(database: Database) -> None:
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: post(database, CLAIM), range(20)))

    assert answers == [answers[0]] * 20
    assert number_of_jobs(database) == 1


def test_a_request_that_failed_leaves_its_key_free(database: Database) -> None:
    with pytest.raises(KeyError):
        _begin_and_break(database)

    assert post(database, CLAIM).status == 202


def _begin_and_break(database: Database) -> None:
    with database.write() as connection:
        idempotency.begin(connection, CLAIM)
        raise KeyError


def test_a_request_without_an_answer_is_in_progress(database: Database) -> None:
    with database.write() as connection:
        assert idempotency.begin(connection, CLAIM) is None

    with pytest.raises(IdempotencyInProgressError, match="'k1' is still being answered"):
        idempotency.find(database, CLAIM)


def age(database: Database, by_ms: int) -> None:
    """All keys were written so much earlier."""
    created = tables.idempotency.c.created_ms
    with database.write() as connection:
        connection.execute(update(tables.idempotency).values(created_ms=created - by_ms))


def test_a_key_is_kept_for_a_day(database: Database) -> None:
    first = post(database, CLAIM)

    age(database, idempotency.KEPT_MS - 60_000)

    assert idempotency.find(database, CLAIM) == first
    assert post(database, CLAIM) == first


def test_a_key_is_forgotten_after_a_day(database: Database) -> None:
    post(database, CLAIM)
    age(database, idempotency.KEPT_MS + 1000)

    assert idempotency.find(database, CLAIM) is None
    assert idempotency.find(database, OTHER_BODY) is None
    post(database, OTHER_BODY)

    assert number_of_jobs(database) == 2
    with database.read() as connection:
        assert len(connection.execute(select(tables.idempotency)).all()) == 1


@pytest.mark.parametrize(
    ("body", "same"),
    [({"a": 1, "b": [2]}, True), ({"a": 1, "b": [3]}, False), ({"a": "1", "b": [2]}, False)],
)
def test_the_order_of_fields_does_not_matter_their_values_do(body: object, same: bool) -> None:
    assert (fingerprint({"b": [2], "a": 1}) == fingerprint(body)) is same


def test_text_that_is_not_utf8_has_a_fingerprint() -> None:
    assert len(fingerprint({"name": "\ud800"})) == 64
