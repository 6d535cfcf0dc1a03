"""Many workers look for work in the same moment."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from jobs import leases, store
from jobs.database import Database
from jobs.job import JobState
from tests.jobs import given


def test_twenty_workers_claim_each_of_fifty_jobs_once(database: Database) -> None:
    jobs = [given.a_job(database).id for _ in range(50)]

    def claim_all(number: int) -> list[str]:
        claimed = []
        while job := leases.claim_next(database, "train", f"worker-{number}", lease_ms=60_000):
            claimed.append(job.id)
        return claimed

    with ThreadPoolExecutor(20) as threads:
        claims = Counter(job for found in threads.map(claim_all, range(20)) for job in found)

    assert claims == dict.fromkeys(jobs, 1)
    for job_id in jobs:
        assert store.get(database, job_id).fence == 1
        assert given.history(database, job_id) == ["job.queued", "job.started"]


def test_rivals_ends_of_one_attempt_agree(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    def end(number: int) -> JobState:
        if number % 2:
            return leases.succeed(database, job.id, job.fence, values={})
        return leases.fail(database, job.id, job.fence, given.FAILURE)

    with ThreadPoolExecutor(8) as threads:
        states = set(threads.map(end, range(8)))

    assert states == {store.get(database, job.id).state}
    assert len(given.history(database, job.id)) == 4
