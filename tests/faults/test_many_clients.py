"""A thousand jobs from twenty clients at once: none lost, none doubled, in order."""

import statistics
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from jobs import datasets, leases
from jobs.database import Database
from jobs.datasets import ImportOutcome
from jobs.job import JobType
from tests.faults.conftest import Scale, Start
from tests.faults.given import Patient, fine_tune_body
from tests.faults.installation import Installation, Roster
from tests.jobs.given import a_dataset

pytestmark = pytest.mark.e2e

CLIENTS = 20
WORKERS = 4
LEASE_S = 600.0
LEASE_MS = int(LEASE_S * 1000)


def test_jobs_of_many_clients_are_all_there_once_in_order_and_claimed_in_that_order(
    start: Start, scale: Scale
) -> None:
    # without workers, so that the queue stays as the clients have made it
    # nobody renews what is claimed by hand; a sweeper that was kept waiting grants one lease time
    installation = start(Roster(trains=0, prepares=0), lease_s=LEASE_S)
    database, each = installation.database(), scale.of(5, 50)
    dataset_id = _ready_dataset(database)

    with ThreadPoolExecutor(CLIENTS) as pool:
        sent = list(pool.map(lambda _: _submitted(installation, dataset_id, each), range(CLIENTS)))
    made = [job_id for job_ids, _ in sent for job_id in job_ids]
    _tell([second for _, seconds in sent for second in seconds])

    listed = _listed(installation)
    assert len(made) == CLIENTS * each
    assert sorted(made) == listed
    for job_ids, _ in sent:
        # what one client sent later comes later
        assert job_ids == sorted(job_ids)
    _assert_positions(installation, listed)
    claimed = _all_claimed(database)
    assert sorted(job_id for one in claimed for job_id in one) == listed
    for one in claimed:
        assert one == sorted(one)
    database.close()


def _ready_dataset(database: Database) -> str:
    """A dataset that was imported by hand: there is nobody else to do it."""
    made = a_dataset(database)
    counts = {"files": 8, "usable": 8, "train": 6, "valid": 2, "test": 0, "classes": 2}
    classes = [{"label": label, "count": 4} for label in ("blue", "red")]
    outcome = ImportOutcome(digest="d1", counts=counts, classes=classes, report={})
    job = leases.claim_next(database, "prepare", "by-hand", lease_ms=LEASE_MS)
    assert job is not None
    ready = partial(datasets.mark_ready, job=job, outcome=outcome)
    leases.succeed(database, job.id, job.fence, values={}, also=ready)
    return made.id


def _submitted(
    installation: Installation, dataset_id: str, count: int
) -> tuple[list[str], list[float]]:
    with Patient(installation) as client:
        body = fine_tune_body(dataset_id)
        ids = [str(client.post("/v1/fine-tunes", body)["id"]) for _ in range(count)]
        return ids, client.seconds


def _listed(installation: Installation) -> list[str]:
    """Every fine-tune that the API lists, the oldest first; pages overlap nowhere."""
    found: list[str] = []
    query = {"type": JobType.FINE_TUNE.value, "limit": 200}
    with Patient(installation) as client:
        while True:
            page = client.get("/v1/jobs", **query)
            found += [str(job["id"]) for job in page["data"]]
            if not page["has_more"]:
                return found[::-1]
            query["after"] = page["next_cursor"]


def _assert_positions(installation: Installation, listed: list[str]) -> None:
    with Patient(installation) as client:
        for place in (1, 2, len(listed) // 2, len(listed)):
            job = client.get(f"/v1/jobs/{listed[place - 1]}")
            assert job["queue"]["position"] == place


def _all_claimed(database: Database) -> list[list[str]]:
    """What each of some workers has claimed until nothing was left, in order."""
    at_once = threading.Barrier(WORKERS)

    def work(number: int) -> list[str]:
        mine = []
        at_once.wait()
        claim = partial(leases.claim_next, database, "train", f"w-{number}", lease_ms=LEASE_MS)
        while (job := claim()) is not None:
            mine.append(job.id)
        return mine

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(work, range(WORKERS)))


def _tell(seconds: list[float]) -> None:
    cuts = statistics.quantiles(seconds, n=100)
    print(  # noqa: T201 - for people
        f"{len(seconds)} answers: median {cuts[49] * 1000:.0f} ms, p90 {cuts[89] * 1000:.0f} ms, "
        f"p99 {cuts[98] * 1000:.0f} ms, slowest {max(seconds) * 1000:.0f} ms"
    )
