"""Equal requests act once, whatever happens to the process: over HTTP, on both databases."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from api.app import create_app
from api.housekeeping import Housekeeping
from jobs import idempotency, leases, store, tables
from jobs.database import Database
from jobs.idempotency import Claim
from jobs.job import JobType
from jobs.queue import Doorbell, redis_client, waiting_messages
from jobs.settings import Settings
from tests.api.given import problem, ready_dataset
from tests.jobs.given import LEASE_MS

KEY = {"Idempotency-Key": "k1"}
PATH = "/v1/lr-finds"
AT_ONCE = 20


@pytest.fixture
def database_url(new_database_url: Callable[[], str]) -> str:
    """The address of an empty, migrated database of each kind."""
    return new_database_url()


@pytest.fixture
def body(database: Database) -> dict[str, Any]:
    """A learning-rate find that will be accepted."""
    return {"dataset": ready_dataset(database).id, "weight_decay": 0.0, "seed": 1}


def finds(database: Database) -> list[str]:
    chosen = store.JobFilter(type=JobType.LR_FIND)
    return [job.id for job in store.list_jobs(database, chosen, after=None, limit=100)]


def test_twenty_equal_posts_at_once_make_one_job_and_get_one_answer(
    client: TestClient, database: Database, body: dict[str, Any]
) -> None:
    begin = Barrier(AT_ONCE)

    def post(_: int) -> tuple[int, str, bytes, str | None]:
        begin.wait()
        answer = client.post(PATH, json=body, headers=KEY)
        replayed = answer.headers.get("idempotency-replayed")
        return answer.status_code, answer.headers["location"], answer.content, replayed

    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(post, range(AT_ONCE)))

    assert len({answer[:3] for answer in answers}) == 1
    assert answers[0][0] == 202
    assert sorted(str(answer[3]) for answer in answers) == ["None"] + ["true"] * (AT_ONCE - 1)
    assert len(finds(database)) == 1


def test_twenty_equal_cancels_at_once_get_one_answer(
    client: TestClient, body: dict[str, Any]
) -> None:
    job = client.post(PATH, json=body).json()["id"]

    def cancel(_: int) -> str:
        return str(client.post(f"/v1/jobs/{job}/cancel", headers=KEY).text)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        assert len(set(threads.map(cancel, range(AT_ONCE)))) == 1


@pytest.mark.parametrize(
    "text",
    [
        '{{"seed": 1, "weight_decay": 0.0, "dataset": "{dataset}"}}',
        '{{"dataset":"{dataset}","weight_decay":0,"seed":1}}',
        '{{"dataset": "{dataset}", "weight_decay": -0e0, "seed": 1}}',
        '{{"dataset": "\\u0064{rest}", "weight_decay": 0.0, "seed": 1}}',
    ],
)
def test_a_request_is_equal_however_its_json_is_written(
    client: TestClient, database: Database, body: dict[str, Any], text: str
) -> None:
    first = client.post(PATH, json=body, headers=KEY)
    written = text.format(dataset=body["dataset"], rest=body["dataset"][1:])

    again = client.post(PATH, content=written, headers={**KEY, "Content-Type": "application/json"})

    assert again.headers["idempotency-replayed"] == "true"
    assert again.content == first.content
    assert len(finds(database)) == 1


@pytest.mark.parametrize("change", [{"seed": 2}, {"weight_decay": 0.5}, {"name": "another"}])
def test_another_request_under_the_same_key_is_refused(
    client: TestClient, database: Database, body: dict[str, Any], change: dict[str, Any]
) -> None:
    client.post(PATH, json=body, headers=KEY)

    answer = client.post(PATH, json={**body, **change}, headers=KEY)

    problem(answer, 422, "idempotency_key_reused")
    assert len(finds(database)) == 1


def test_a_key_is_free_again_after_a_day(
    client: TestClient, database: Database, body: dict[str, Any]
) -> None:
    first = client.post(PATH, json=body, headers=KEY)
    with database.write() as connection:
        a_day_ago = tables.idempotency.c.created_ms - idempotency.KEPT_MS - 1000
        connection.execute(update(tables.idempotency).values(created_ms=a_day_ago))

    other = client.post(PATH, json={**body, "seed": 2}, headers=KEY)

    assert other.status_code == 202
    assert "idempotency-replayed" not in other.headers
    assert other.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("change", [{"dataset": "ds_nobody"}, {"epochs": 3}, {"seed": -1}])
def test_only_what_was_done_is_remembered(
    client: TestClient, database: Database, body: dict[str, Any], change: dict[str, Any]
) -> None:
    refused = client.post(PATH, json={**body, **change}, headers=KEY)

    accepted = client.post(PATH, json=body, headers=KEY)

    assert (refused.status_code, accepted.status_code) == (422, 202)
    with database.read() as connection:
        kept = connection.scalars(select(tables.idempotency.c.status)).all()
    assert kept == [202]


@pytest.mark.postgres
@pytest.mark.parametrize("new_database_url", ["postgresql"], indirect=True)
def test_a_request_whose_twin_does_not_end_is_in_progress(
    settings: Settings, database: Database, body: dict[str, Any]
) -> None:
    """On SQLite nobody sees a transaction that has begun: the twin waits until it has ended."""
    impatient = settings.model_copy(
        update={"database_url": f"{settings.database_url}&options=-c%20lock_timeout%3D100ms"}
    )
    claim = Claim(scope=f"local POST {PATH}", key="k1", fingerprint="0")
    with (
        TestClient(create_app(impatient), base_url="http://127.0.0.1") as client,
        database.write() as slow,
    ):
        idempotency.begin(slow, claim)

        answer = client.post(PATH, json=body, headers=KEY)

        problem(answer, 409, "idempotency_in_progress")
        assert answer.headers["retry-after"]


_REACHED = {"before the commit": (idempotency, "complete"), "before the ring": (Doorbell, "ring")}


def _post_and_be_killed(settings: Settings, body: dict[str, Any], moment: str) -> None:
    def be_killed(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(*_REACHED[moment], be_killed)
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        client.post(PATH, json=body, headers=KEY)


def _killed(settings: Settings, body: dict[str, Any], moment: str) -> None:
    child = multiprocessing.get_context("spawn").Process(
        target=_post_and_be_killed, args=(settings, body, moment)
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def test_a_service_that_is_killed_in_the_middle_leaves_nothing_and_the_key_works_again(
    settings: Settings, database: Database, body: dict[str, Any]
) -> None:
    _killed(settings, body, "before the commit")
    assert finds(database) == []

    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        answer = client.post(PATH, json=body, headers=KEY)

    assert answer.status_code == 202
    assert "idempotency-replayed" not in answer.headers
    assert finds(database) == [answer.json()["id"]]


def test_a_job_whose_service_was_killed_before_it_could_ring_still_runs(
    settings: Settings, database: Database, body: dict[str, Any], redis_url: str
) -> None:
    redis = redis_client(redis_url)
    redis.flushall()
    with_redis = settings.model_copy(update={"redis_url": redis_url, "sweep_s": 3600})
    _killed(with_redis, body, "before the ring")
    (job,) = finds(database)
    assert waiting_messages(redis, "train") == 0

    doorbell = Doorbell(redis_url)
    Housekeeping(database, doorbell, with_redis).sweep()
    doorbell.close()
    with TestClient(create_app(with_redis), base_url="http://127.0.0.1") as client:
        again = client.post(PATH, json=body, headers=KEY)

    assert waiting_messages(redis, "train") == 1
    redis.close()
    assert (again.headers["idempotency-replayed"], again.json()["id"]) == ("true", job)
    claimed = leases.claim_next(database, "train", "worker-1", lease_ms=LEASE_MS)
    assert claimed is not None
    assert claimed.id == job
