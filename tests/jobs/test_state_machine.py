"""Clients, two workers and two sweepers do whatever they like; the laws of the life cycle hold."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from hypothesis.stateful import run_state_machine_as_test as run
from sqlalchemy import delete, event, select

from jobs import checkpoints, curves, database, leases, store, submission, sweeper, tables, verbs
from jobs.back_off import BackOff
from jobs.checkpoints import Checkpoint
from jobs.database import Database
from jobs.errors import InvalidTransitionError, LeaseLostError, NotFoundError
from jobs.events import FINAL_EVENT_TYPES
from jobs.job import FINAL_STATES, LEASED_STATES, NEXT_STATES, Job, JobState
from jobs.spec import FineTuneSpec
from jobs.sweeper import Sweeper
from tests.jobs import given

WORKERS = ("worker-1", "worker-2")
LEASE_S, SWEEP_S, MAX_LOST, MOST_UNFINISHED = 30, 5, 3, 4
BACK_OFF = BackOff(io_attempts=3, io_pause_s=SWEEP_S, io_longest_pause_s=2 * SWEEP_S)
EXAMPLES = {"sqlite": 20, "postgresql": 8}
"""Of each kind of database; with --slow five times as many."""
IN_VAIN = {JobState.FAILED, JobState.CANCELLED}

Told = list[tuple[int, str]]
"""Number and type of each event of a job."""


class Clock:
    """The database's clock and the machine's own, which move only when they are told to."""

    def __init__(self) -> None:
        self.statements: dict[str, str] = {}
        self.set(1_700_000_000_000)

    def set(self, now_ms: int) -> None:
        self.now_ms, self.own_s = now_ms, now_ms / 1000
        self.jump(0)

    def run(self, seconds: float) -> None:
        """Time goes by."""
        self.own_s += seconds
        self.jump(seconds)

    def jump(self, seconds: float) -> None:
        """Somebody sets the database's clock; no time goes by."""
        self.now_ms += int(seconds * 1000)
        self.statements.update(dict.fromkeys(EXAMPLES, f"SELECT {self.now_ms}"))


@dataclass(slots=True)
class Attempt:
    """A claim that a worker made, and how many steps it knows to be on the curve."""

    job_id: str
    fence: int
    step: int


@dataclass(slots=True)
class Account:
    """What must be true of a job, kept beside the database."""

    depends_on: tuple[str, ...]
    attempt: int = 0
    fence: int = 0
    lost: int = 0
    checkpoints: list[Checkpoint] = field(default_factory=list)
    """The newest two, the newest last."""
    setbacks: Counter[int] = field(default_factory=Counter)
    """How often it was put off with a checkpoint at this step."""
    curve: list[float] = field(default_factory=list)
    """The loss of each step, which is the fence of the attempt that took it."""

    @property
    def begins_at(self) -> int:
        """The step that the next attempt goes on from."""
        return self.checkpoints[-1].step if self.checkpoints else 0


@dataclass(frozen=True, slots=True)
class Sight:
    """All that a client could see at one moment."""

    jobs: dict[str, Job]
    events: dict[str, Told]
    curves: dict[str, list[tuple[int, float | None]]]


WRITES: dict[str, Callable[[Database, Attempt], object]] = {
    "renew": lambda db, a: leases.renew(db, a.job_id, a.fence, lease_ms=LEASE_S * 1000),
    "phase": lambda db, a: leases.enter_phase(db, a.job_id, a.fence, "unfrozen"),
    "warning": lambda db, a: curves.record_warning(db, a.job_id, a.fence, "code", "detail"),
    "resolved": lambda db, a: curves.record_resolved(db, a.job_id, a.fence, {"fence": a.fence}),
}
ENDS: dict[str, Callable[[Database, Attempt], JobState]] = {
    "succeed": lambda db, a: leases.succeed(db, a.job_id, a.fence, values={}),
    "fail": lambda db, a: leases.fail(db, a.job_id, a.fence, given.FAILURE),
    "release": lambda db, a: leases.release(db, a.job_id, a.fence),
    "crash": lambda db, a: leases.record_crash(db, a.job_id, a.fence, given.FAILURE),
    "setback": lambda db, a: leases.put_off(db, a.job_id, a.fence, given.FAILURE, BACK_OFF),
    "loss": lambda db, a: leases.record_loss(
        db, a.job_id, a.fence, max_lost=MAX_LOST, reason="it died"
    ),
}
WISHES = [verbs.cancel, verbs.stop, verbs.pause, verbs.resume]


class Installation(RuleBasedStateMachine):
    """A database with jobs; each worker remembers every claim it ever made."""

    database: Database
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        with self.database.write() as connection:
            for table in reversed(tables.metadata.sorted_tables):
                connection.execute(delete(table))
        self.clock.set(1_700_000_000_000)
        self.sweepers = [self._new_sweeper(), self._new_sweeper()]
        self.swept_ms: int | None = None
        self.seen_by: list[tuple[int, float] | None] = [None, None]
        self.accounts: dict[str, Account] = {}
        self.attempts: list[Attempt] = []
        self.before = Sight({}, {}, {})

    def _new_sweeper(self) -> Sweeper:
        return Sweeper(self.database, interval_s=SWEEP_S, lease_s=LEASE_S, max_lost=MAX_LOST)

    # --- clients ----------------------------------------------------------------------------

    @initialize()
    def two_jobs_are_there(self) -> None:
        self.sweep(0)
        with self.database.write() as connection:
            for _ in range(2):
                job = submission.submit(connection, FineTuneSpec(dataset="ds_1")).job
                self.accounts[job.id] = Account(())

    @precondition(lambda self: len(self._unfinished()) < MOST_UNFINISHED)
    @rule(data=st.data(), priority=st.integers(4, 6), auto=st.booleans())
    def submit(self, data: st.DataObject, priority: int, auto: bool) -> None:
        needed = st.lists(st.sampled_from(sorted(self.accounts)), max_size=2, unique=True)
        spec = FineTuneSpec(
            dataset="ds_1",
            priority=priority,
            learning_rate="auto" if auto else 0.1,
            depends_on=data.draw(needed) if self.accounts else [],
        )
        with self.database.write() as connection:
            made = submission.submit(connection, spec)
        needs = tuple(spec.depends_on)
        for job in (*made.before, made.job):
            self.accounts[job.id] = Account(needs)
            needs = (*needs, job.id)

    @precondition(lambda self: self.accounts)
    @rule(data=st.data(), wish=st.sampled_from(WISHES))
    def wish(self, data: st.DataObject, wish: Callable[[Database, str], Job]) -> None:
        job = self.before.jobs[data.draw(st.sampled_from(sorted(self.accounts)))]

        try:
            once = wish(self.database, job.id)
        except InvalidTransitionError:
            assert store.get(self.database, job.id) == job
        else:
            assert wish(self.database, job.id) == once

    @precondition(lambda self: len(self._unfinished()) < len(self.accounts))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        finished = sorted(self.accounts.keys() - {job.id for job in self._unfinished()})
        job_id = data.draw(st.sampled_from(finished))

        store.delete_job(self.database, job_id)

        del self.accounts[job_id]
        for account in self.accounts.values():
            account.depends_on = tuple(each for each in account.depends_on if each != job_id)

    # --- workers ----------------------------------------------------------------------------

    @rule(workers=st.lists(st.sampled_from(WORKERS), min_size=1, max_size=3))
    def look(self, workers: list[str]) -> None:
        for worker in workers:
            self._claim(worker)
            self.the_laws_hold()

    def _claim(self, worker: str) -> None:
        claimable = [job for job in self._unfinished() if self._is_claimable(job)]

        job = leases.claim_next(self.database, "train", worker, lease_ms=LEASE_S * 1000)

        assert (job is None) == (claimable == [])
        if job is not None:
            assert job.id in {each.id for each in claimable}
            assert job.priority == max(each.priority for each in claimable)
            account = self.accounts[job.id]
            account.attempt += 1
            account.fence += 1
            del account.curve[account.begins_at :]
            self.attempts.append(Attempt(job.id, job.fence, job.checkpoint_step))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), name=st.sampled_from(sorted(WRITES)))
    def write(self, data: st.DataObject, name: str) -> None:
        self._refused_unless_held(data.draw(self._an_attempt()), WRITES[name])

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), steps=st.integers(0, 3), times=st.integers(1, 2))
    def progress(self, data: st.DataObject, steps: int, times: int) -> None:
        """Some steps are told, twice where the first answer was lost on its way."""
        attempt = data.draw(self._an_attempt())
        new = curves.ProgressUpdate(progress={}, latest={}, points=_points(attempt, steps))

        for _ in range(times):
            held = self._refused_unless_held(
                attempt, lambda db, a: curves.record_progress(db, a.job_id, a.fence, new)
            )
        if held:
            attempt.step += steps
            self.accounts[attempt.job_id].curve += [float(attempt.fence)] * steps

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def checkpoint(self, data: st.DataObject) -> None:
        attempt = data.draw(self._an_attempt())
        path = f"jobs/{attempt.job_id}/a{attempt.fence}/checkpoint-{attempt.step}.pt"

        if self._refused_unless_held(
            attempt,
            lambda db, a: checkpoints.record(db, a.job_id, a.fence, Checkpoint(path, a.step)),
        ):
            kept = self.accounts[attempt.job_id].checkpoints
            kept[:] = [
                *(each for each in kept if each.path != path),
                Checkpoint(path, attempt.step),
            ]
            del kept[:-2]

    @precondition(lambda self: any(each.checkpoints for each in self.accounts.values()))
    @rule(data=st.data(), times=st.integers(1, 2))
    def find_a_checkpoint_bad(self, data: st.DataObject, times: int) -> None:
        """An attempt goes on from the one before, and says so again where the answer was lost."""
        attempt = data.draw(self._an_attempt())
        account = self.accounts.get(attempt.job_id)
        kept = account.checkpoints if account else []
        bad = kept[-1].path if kept else "none"

        for _ in range(times):
            held = self._refused_unless_held(
                attempt,
                lambda db, a: checkpoints.fall_back(db, a.job_id, a.fence, bad=bad, why="bad"),
            )
        if held and kept and account is not None:
            kept.pop()
            attempt.step = account.begins_at
            del account.curve[account.begins_at :]

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), name=st.sampled_from(sorted(ENDS)), times=st.integers(1, 2))
    def end(self, data: st.DataObject, name: str, times: int) -> None:
        """An attempt ends, and says so again where the answer was lost on its way."""
        attempt = data.draw(self._an_attempt())
        for _ in range(times):
            self._end_once(attempt, name)
            self.the_laws_hold()

    def _end_once(self, attempt: Attempt, name: str) -> None:
        job, account = self.before.jobs.get(attempt.job_id), self.accounts.get(attempt.job_id)
        held = self._is_held(attempt)

        try:
            state = ENDS[name](self.database, attempt)
        except NotFoundError:
            assert account is None
        except LeaseLostError:
            assert job is not None
            assert not held
            assert not (job.is_terminal and job.fence == attempt.fence)
        else:
            assert job is not None and account is not None  # noqa: PT018 - for the type checker
            assert held or (job.is_terminal and job.state == state)
            assert job.state != JobState.CANCELLING or state == JobState.CANCELLED
            if held and name == "setback":
                self._was_put_off(attempt, job, state)
            if held and job.state != JobState.CANCELLING:
                account.attempt -= name == "release"
                account.lost += name == "loss"

    def _was_put_off(self, attempt: Attempt, job: Job, state: JobState) -> None:
        """It waits, for no longer than it may, or this was its last attempt."""
        if job.state not in {JobState.PREPARING, JobState.RUNNING}:
            return
        account = self.accounts[attempt.job_id]
        account.setbacks[account.begins_at] += 1
        setbacks = account.setbacks[account.begins_at]
        last = setbacks >= BACK_OFF.io_attempts
        assert state == (JobState.FAILED if last else JobState.QUEUED)
        if not last:
            waits_ms = store.get(self.database, job.id).not_before_ms - self.clock.now_ms
            longest_s = BACK_OFF.io_pause_s * 2 ** (setbacks - 1)
            assert longest_s * 500 <= waits_ms <= longest_s * 1000

    # --- time -------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, SWEEP_S, 4 * SWEEP_S, LEASE_S + 1]))
    def time_goes_by_without_a_sweep(self, seconds: int) -> None:
        self.clock.run(seconds)

    @rule(which=st.integers(0, 1))
    def every_worker_is_frozen(self, which: int) -> None:
        for _ in range(LEASE_S // SWEEP_S + 1):
            self.clock.run(SWEEP_S)
            self.sweep(which)
            self.the_laws_hold()

    @rule(seconds=st.sampled_from([-3600, -6, 6, 3600]))
    def somebody_sets_the_clock(self, seconds: int) -> None:
        self.clock.jump(seconds)

    @rule(which=st.integers(0, 1))
    def restart_a_sweeper(self, which: int) -> None:
        self.sweepers[which], self.seen_by[which] = self._new_sweeper(), None

    @rule(which=st.integers(0, 1))
    def sweep(self, which: int) -> None:
        """Exactly the jobs whose lease is over go back, unless the clock cannot be trusted."""
        now_ms, own_s = self.clock.now_ms, self.clock.own_s
        held = {job.id for job in self.before.jobs.values() if job.state in LEASED_STATES}
        trusted = not self._was_silent() and not self._saw_a_jump(which)
        due = [
            job
            for job in self.before.jobs.values()
            if job.id in held and (job.lease_until_ms or 0) < now_ms
        ]

        taken = self.sweepers[which].sweep()

        assert taken == (sorted(job.id for job in due) if trusted else [])
        self.swept_ms, self.seen_by[which] = now_ms, (now_ms, own_s)
        for job in due if trusted else []:
            self.accounts[job.id].lost += job.state != JobState.CANCELLING
        for job_id in set() if trusted else held:
            assert store.get(self.database, job_id).lease_until_ms == now_ms + LEASE_S * 1000

    def _was_silent(self) -> bool:
        if self.swept_ms is None:
            return False
        return not -5000 <= self.clock.now_ms - self.swept_ms <= 3000 * SWEEP_S

    def _saw_a_jump(self, which: int) -> bool:
        last = self.seen_by[which]
        if last is None:
            return False
        return abs(self.clock.now_ms - last[0] - 1000 * (self.clock.own_s - last[1])) > 5000

    # --- the laws ---------------------------------------------------------------------------

    @invariant()
    def the_laws_hold(self) -> None:
        now = _sight(self.database)
        assert now.jobs.keys() == self.accounts.keys()
        for job in now.jobs.values():
            self._is_in_order(job, now)
            self._is_as_accounted(job, now)
            self._follows_those_it_needs(job, now)
        for job_id in self.before.jobs.keys() & now.jobs.keys():
            self._has_changed_lawfully(job_id, now)
        self.before = now

    @staticmethod
    def _is_in_order(job: Job, now: Sight) -> None:
        numbers, kinds = zip(*now.events[job.id], strict=True)
        assert list(numbers) == list(range(1, job.event_seq + 1))
        assert FINAL_EVENT_TYPES.isdisjoint(kinds[:-1])
        assert (kinds[-1] in FINAL_EVENT_TYPES) == job.is_terminal
        assert (job.worker_id is not None) == (job.state in LEASED_STATES)
        assert (job.lease_until_ms is not None) == (job.state in LEASED_STATES)
        assert (job.finished_ms is not None) == (job.state in FINAL_STATES)
        assert (job.error is not None) == (job.state == JobState.FAILED)

    def _is_as_accounted(self, job: Job, now: Sight) -> None:
        account = self.accounts[job.id]
        assert (job.attempt, job.fence, job.lost) == (account.attempt, account.fence, account.lost)
        assert job.checkpoint_step == account.begins_at
        kept = [job.earlier_checkpoint, job.checkpoint]
        assert [each for each in kept if each] == [each.path for each in account.checkpoints]
        assert now.curves[job.id] == list(enumerate(account.curve))
        if job.error is not None and job.error["code"] == "worker_lost":
            assert job.lost >= MAX_LOST

    def _follows_those_it_needs(self, job: Job, now: Sight) -> None:
        needed = {now.jobs[each].state for each in self.accounts[job.id].depends_on}
        if needed & IN_VAIN:
            assert job.state in IN_VAIN
            assert job.error is None or job.error["code"] == "dependency_failed"
        elif needed - {JobState.SUCCEEDED}:
            assert job.fence == 0

    def _has_changed_lawfully(self, job_id: str, now: Sight) -> None:
        old, new = self.before.jobs[job_id], now.jobs[job_id]
        told = self.before.events[job_id]
        assert new.state == old.state or new.state in NEXT_STATES[old.state]
        assert now.events[job_id][: len(told)] == told
        if old.is_terminal:
            assert (new, now.events[job_id]) == (old, told)
            assert now.curves[job_id] == self.before.curves[job_id]

    def teardown(self) -> None:
        """Every accepted job ends, as long as its paused ones are resumed and workers go on."""
        for job in self._unfinished():
            if job.state == JobState.PAUSED:
                verbs.resume(self.database, job.id)
        self.the_laws_hold()
        self._outlive_all_leases()
        for job in self._unfinished():
            if job.state == JobState.PAUSED:
                verbs.resume(self.database, job.id)
        for _ in range(len(self._unfinished())):
            self.clock.set(max([self.clock.now_ms, *self._not_before_ms()]))
            self.the_laws_hold()
            self._claim("worker-3")
            self.the_laws_hold()
            self._end_once(self.attempts[-1], "succeed")
        self.the_laws_hold()
        assert self._unfinished() == []

    def _not_before_ms(self) -> list[int]:
        return [job.not_before_ms for job in self._unfinished()]

    def _outlive_all_leases(self) -> None:
        """Two lease times are enough: one may be granted after a silence or a jump."""
        for _ in range(2):
            self.every_worker_is_frozen(0)
        assert not any(job.state in LEASED_STATES for job in self._unfinished())

    # --- what there is ----------------------------------------------------------------------

    def _refused_unless_held(
        self, attempt: Attempt, write: Callable[[Database, Attempt], object]
    ) -> bool:
        held, exists = self._is_held(attempt), attempt.job_id in self.accounts
        try:
            write(self.database, attempt)
        except LeaseLostError:
            assert exists and not held  # noqa: PT018 - one law
        except NotFoundError:
            assert not exists
        else:
            assert held
        return held

    def _an_attempt(self) -> st.SearchStrategy[Attempt]:
        """One that holds its job still, one whose job another holds now, or any of the last."""
        held = {job.id for job in self._unfinished() if job.state in LEASED_STATES}
        choices = [attempt for attempt in self.attempts if attempt.job_id in held]
        return st.sampled_from(choices * 2 + self.attempts[-3:])

    def _is_held(self, attempt: Attempt) -> bool:
        job = self.before.jobs.get(attempt.job_id)
        return job is not None and job.state in LEASED_STATES and job.fence == attempt.fence

    def _is_claimable(self, job: Job) -> bool:
        needs = self.accounts[job.id].depends_on
        done = all(self.before.jobs[each].state == JobState.SUCCEEDED for each in needs)
        is_time = job.not_before_ms <= self.clock.now_ms
        return job.state == JobState.QUEUED and done and is_time

    def _unfinished(self) -> list[Job]:
        return [job for job in self.before.jobs.values() if not job.is_terminal]


def _points(attempt: Attempt, steps: int) -> list[curves.CurvePoint]:
    point = curves.CurvePoint(
        phase="frozen",
        step=0,
        global_step=0,
        epoch=0,
        loss=float(attempt.fence),
        smoothed=None,
        lrs=(),
        momentum=0.9,
    )
    numbers = range(attempt.step, attempt.step + steps)
    return [replace(point, step=number, global_step=number) for number in numbers]


def _sight(database: Database) -> Sight:
    jobs, events, points = tables.jobs, tables.events.c, tables.curve_points.c
    told, curve = defaultdict(list), defaultdict(list)
    with database.read() as connection:
        found = [store.as_job(row) for row in connection.execute(select(jobs).order_by(jobs.c.id))]
        query = select(events.job_id, events.seq, events.type).order_by(events.seq)
        for job_id, seq, kind in connection.execute(query):
            told[job_id].append((seq, kind))
        steps = select(points.job_id, points.global_step, points.loss)
        for job_id, step, loss in connection.execute(steps.order_by(points.global_step)):
            curve[job_id].append((step, loss))
    return Sight({job.id: job for job in found}, told, curve)


@contextmanager
def _quick(url: str) -> Iterator[Database]:
    """The database, on SQLite without waiting for the disk: power failures are not at stake."""
    opened = Database(url)
    if opened.engine.dialect.name == "sqlite":
        event.listen(opened.engine, "connect", _do_not_sync)
    yield opened
    opened.close()


def _do_not_sync(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


@pytest.mark.timeout(900)
def test_the_laws_of_the_life_cycle_hold_whatever_happens(
    request: pytest.FixtureRequest, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = 5 if request.config.getoption("--slow") else 1
    the_clock = Clock()
    monkeypatch.setattr(database, "_NOW_MS", the_clock.statements)
    monkeypatch.setattr(sweeper, "time", SimpleNamespace(monotonic=lambda: the_clock.own_s))
    with _quick(database_url) as opened:

        class ThisInstallation(Installation):
            database = opened
            clock = the_clock

        bounded = settings(
            max_examples=times * EXAMPLES[opened.engine.dialect.name],
            stateful_step_count=40,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        run(ThisInstallation, settings=bounded)
