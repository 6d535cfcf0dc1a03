"""Two workers, a sweeper and a client do whatever they like; the laws of the life cycle hold."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

from jobs import curves, leases, store, verbs
from jobs.database import Database
from jobs.errors import InvalidTransitionError, LeaseLostError
from jobs.job import FINAL_STATES, LEASED_STATES, NEXT_STATES, Job, JobState
from jobs.sweeper import Sweeper
from tests.jobs import given

WORKERS = ("worker-1", "worker-2")
MAX_LOST = 3

WRITES: list[Callable[[Database, Job], object]] = [
    lambda database, job: leases.renew(database, job.id, job.fence, lease_ms=given.LEASE_MS),
    lambda database, job: leases.enter_phase(database, job.id, job.fence, "unfrozen"),
    lambda database, job: curves.record_warning(database, job.id, job.fence, "code", "detail"),
    lambda database, job: curves.record_checkpoint(
        database, job.id, job.fence, path="jobs/x", global_step=job.event_seq
    ),
]
ENDS: list[Callable[[Database, Job], object]] = [
    lambda database, job: leases.succeed(database, job.id, job.fence, values={}),
    lambda database, job: leases.fail(database, job.id, job.fence, given.FAILURE),
    lambda database, job: leases.release(database, job.id, job.fence),
    lambda database, job: leases.record_crash(database, job.id, job.fence, given.FAILURE),
    lambda database, job: leases.record_loss(
        database, job.id, job.fence, max_lost=MAX_LOST, reason="it died"
    ),
]
WISHES = [verbs.cancel, verbs.stop, verbs.pause, verbs.resume]


class Installation(RuleBasedStateMachine):
    """A database with jobs; each worker remembers every claim it ever made."""

    new_url: Callable[[], str]

    def __init__(self) -> None:
        super().__init__()
        self.database = Database(type(self).new_url())
        self.sweeper = Sweeper(
            self.database, interval_s=600, lease_s=given.LEASE_MS / 1000, max_lost=MAX_LOST
        )
        self.claims: list[Job] = []
        self.before: dict[str, tuple[Job, list[str]]] = {}

    def teardown(self) -> None:
        self.database.close()

    @precondition(lambda self: sum(not job.is_terminal for job, _ in self.before.values()) < 3)
    @rule(priority=st.integers(4, 6))
    def submit(self, priority: int) -> None:
        given.a_job(self.database, priority=priority)

    @precondition(lambda self: self._waiting())
    @rule(worker=st.sampled_from(WORKERS))
    def claim(self, worker: str) -> None:
        job = leases.claim_next(self.database, "train", worker, lease_ms=given.LEASE_MS)

        assert job is not None
        assert job.priority == max(old.priority for old in self._waiting())
        self.claims.append(job)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), write=st.sampled_from(WRITES))
    def write(self, data: st.DataObject, write: Callable[[Database, Job], object]) -> None:
        claim = data.draw(self._a_claim())
        held = self._is_held(claim)

        try:
            write(self.database, claim)
        except LeaseLostError:
            assert not held
        else:
            assert held

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), end=st.sampled_from(ENDS))
    def end(self, data: st.DataObject, end: Callable[[Database, Job], object]) -> None:
        claim = data.draw(self._a_claim())
        job = self.before[claim.id][0]
        answered = self._is_held(claim) or (job.is_terminal and job.fence == claim.fence)

        try:
            state = end(self.database, claim)
        except LeaseLostError:
            assert not answered
        else:
            assert answered
            assert state == store.get(self.database, claim.id).state
            assert job.state != JobState.CANCELLING or state == JobState.CANCELLED

    @precondition(lambda self: self.before)
    @rule(data=st.data(), wish=st.sampled_from(WISHES))
    def wish(self, data: st.DataObject, wish: Callable[[Database, str], Job]) -> None:
        job = self.before[data.draw(st.sampled_from(sorted(self.before)))][0]

        try:
            once = wish(self.database, job.id)
        except InvalidTransitionError:
            assert store.get(self.database, job.id) == job
        else:
            assert wish(self.database, job.id) == once

    @precondition(lambda self: self._held())
    @rule(data=st.data())
    def go_silent_and_sweep(self, data: st.DataObject) -> None:
        silent = data.draw(st.sampled_from(self._held()))
        given.set_columns(self.database, silent.id, lease_until_ms=1)

        assert self.sweeper.sweep() == [silent.id]
        assert self.sweeper.sweep() == []

    @invariant()
    def the_laws_hold(self) -> None:
        jobs = store.list_jobs(self.database, store.JobFilter(), after=None, limit=100)
        now = {job.id: (job, given.history(self.database, job.id)) for job in jobs}
        for job, events in now.values():
            assert job.event_seq == len(events)
            assert (job.worker_id is not None) == (job.state in LEASED_STATES)
            assert (job.lease_until_ms is not None) == (job.state in LEASED_STATES)
            assert (job.finished_ms is not None) == (job.state in FINAL_STATES)
        for job_id, (old, events) in self.before.items():
            self._changed_lawfully(old, now[job_id][0])
            assert now[job_id][1][: len(events)] == events
            assert not old.is_terminal or now[job_id] == (old, events)
        self.before = now

    @staticmethod
    def _changed_lawfully(old: Job, new: Job) -> None:
        claims = int(old.state == JobState.QUEUED and new.state == JobState.PREPARING)
        assert new.state == old.state or new.state in NEXT_STATES[old.state]
        assert new.fence == old.fence + claims
        assert new.lost >= old.lost
        assert new.checkpoint_step >= old.checkpoint_step

    def _a_claim(self) -> st.SearchStrategy[Job]:
        """Mostly one that holds its job still, now and then one that lost it."""
        holding = [claim for claim in self.claims if self._is_held(claim)]
        return st.sampled_from(holding * 3 + self.claims[-4:])

    def _waiting(self) -> list[Job]:
        return [job for job, _ in self.before.values() if job.state == JobState.QUEUED]

    def _held(self) -> list[Job]:
        jobs = (job for job, _ in self.before.values() if job.state in LEASED_STATES)
        return sorted(jobs, key=lambda job: job.id)

    def _is_held(self, claim: Job) -> bool:
        job = self.before[claim.id][0]
        return job.state in LEASED_STATES and job.fence == claim.fence


@pytest.mark.timeout(120)
def test_the_laws_of_the_life_cycle_hold_whatever_happens(
    new_database_url: Callable[[], str],
) -> None:
    class OnNewDatabases(Installation):
        new_url = staticmethod(new_database_url)

    bounded = settings(
        max_examples=30,
        stateful_step_count=50,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run(OnNewDatabases, settings=bounded)
