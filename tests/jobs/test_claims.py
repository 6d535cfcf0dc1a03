"""Which job is next: the order as it is said, and found without looking at every job."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from sqlalchemy import insert, select, text

from jobs import claims, dependencies, leases, tables
from jobs.database import Database
from jobs.job import JobState
from tests.jobs import given

OWNERS = ("ana", "ben", "cleo")
FAR_MS = 2**45


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job as the order sees it."""

    id: str
    owner: str
    priority: int


def queued(database: Database, chance: random.Random, count: int) -> list[Waiting]:
    """Jobs of several owners and priorities; those that cannot be claimed are not returned."""
    found = []
    for _ in range(count):
        owner, priority = chance.choice(OWNERS), chance.choice((3, 5, 9))
        job = given.a_job(database, owner=owner, priority=priority)
        kind = chance.choice(("ready", "ready", "ready", "later", "waiting"))
        if kind == "later":
            given.set_columns(database, job.id, not_before_ms=FAR_MS)
        elif kind == "waiting":
            other = given.a_job(database, owner=owner)
            given.set_columns(database, other.id, state=JobState.PAUSED.value)
            with database.write() as connection:
                dependencies.add(connection, job.id, [other.id])
        else:
            found.append(Waiting(job.id, owner, priority))
    return found


def in_order(waiting: Sequence[Waiting]) -> list[str]:
    """The ids in the order in which they are to be claimed while none of them ends."""
    left, running, order = list(waiting), Counter[str](), []
    while left:
        first = min(left, key=lambda job: (-job.priority, running[job.owner], job.id))
        left.remove(first)
        running[first.owner] += 1
        order.append(first.id)
    return order


@pytest.mark.parametrize("seed", range(3))
def test_jobs_are_claimed_by_priority_then_fairly_then_by_age(
    database: Database, seed: int
) -> None:
    expected = in_order(queued(database, random.Random(seed), 40))  # noqa: S311 - nothing secret

    claimed = []
    while job := leases.claim_next(database, "train", "worker-1", lease_ms=given.LEASE_MS):
        claimed.append(job.id)

    assert claimed == expected


def test_owners_whose_jobs_all_wait_keep_nobody_waiting(database: Database) -> None:
    waiting = given.a_job(database, owner="ana", priority=9)
    given.set_columns(database, waiting.id, not_before_ms=FAR_MS)
    ready = given.a_job(database, owner="ben", priority=0)

    assert given.claimed(database).id == ready.id
    assert leases.claim_next(database, "train", "worker-1", lease_ms=given.LEASE_MS) is None


def test_no_look_reads_every_job(database: Database) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL reads a small table as a whole, and is right to")
    job = given.a_job(database)
    with database.write() as connection:
        row = connection.execute(select(tables.jobs)).mappings().one()
        copies = [{**row, "id": f"{job.id}-{number}"} for number in range(500)]
        connection.execute(insert(tables.jobs), copies)

    plans = [_plan(database, look) for look in (claims._highest(), claims._owners())]
    plans += [_plan(database, look) for look in (claims._oldest(), claims._any())]

    for steps in plans:
        assert any("ix_jobs_claim" in step for step in steps)
        # whatever is read of the jobs is found by an index
        assert not [step for step in steps if "SCAN jobs" in step]


def _plan(database: Database, look: object) -> list[str]:
    named = {"queue": "train", "priority": 5, "owner": "local", "below": 10}
    named |= {"now_ms": 1, "devices": 1}
    statement = look.params(**named)  # type: ignore[attr-defined]  # a select
    compiled = statement.compile(
        dialect=database.engine.dialect,
        compile_kwargs={"literal_binds": True, "render_postcompile": True},
    )
    with database.read() as connection:
        return [str(row[3]) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {compiled}"))]
