"""Processes killed at random moments of one training, which ends as if nothing had happened."""

import random
import signal
import time

import pytest
from sqlalchemy import select

from jobs import store, tables
from jobs.database import Database
from tests.faults.conftest import Scale, Start, artifacts_of
from tests.faults.given import dataset, ended, fine_tune, job_when
from tests.faults.installation import Installation, Roster, send, wait_until
from tests.faults.laws import assert_ended, assert_equal_runs

pytestmark = pytest.mark.e2e

VICTIMS = ("trainer", "worker", "api", "redis")


def test_a_training_whose_processes_are_killed_again_and_again_ends_as_if_nothing_had_happened(
    start: Start, scale: Scale, chance: random.Random
) -> None:
    installation = start(Roster(trains=2))
    database, kills = installation.database(), scale.of(4, 20)
    dataset_id = dataset(installation)
    epochs = 10 * kills
    undisturbed = fine_tune(installation, dataset_id, epochs=epochs)
    ended(database, undisturbed)

    disturbed = fine_tune(installation, dataset_id, epochs=epochs)
    # each kind as often as any other, at moments spread over the whole course
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(kills)]
    chance.shuffle(victims)
    moments = sorted(chance.uniform(0, 0.8) for _ in victims)
    for victim, moment in zip(victims, moments, strict=True):
        _wait_for(database, disturbed, moment)
        time.sleep(chance.uniform(0, 0.2))
        _kill(installation, database, disturbed, victim)
    ended(database, disturbed)

    job = assert_ended(database, disturbed)
    assert 2 <= job.attempt <= 1 + kills
    assert_equal_runs(database, artifacts_of(installation), undisturbed, disturbed)
    database.close()


def _wait_for(database: Database, job_id: str, fraction: float) -> None:
    """The training has done that share of its course, in whichever attempt."""
    job_when(
        database,
        job_id,
        lambda job: float((job.progress or {}).get("fraction") or 0) >= fraction,
        f"has done {fraction:.0%}",
    )


def _kill(installation: Installation, database: Database, job_id: str, victim: str) -> None:
    if victim == "worker":
        holder = wait_until(
            lambda: installation.name_of_worker(store.get(database, job_id).worker_id),
            "a worker holds the job",
        )
        installation.kill(str(holder))
    elif victim == "trainer":
        # a second death at the same checkpoint is the job's own fault
        wait_until(lambda: _has_gone_on(database, job_id), "there is a newer checkpoint")
        trainer = wait_until(lambda: installation.trainers(), "there is a trainer")[0]
        send(trainer.pid, signal.SIGKILL)
        wait_until(lambda: store.get(database, job_id).fence > trainer.fence, "a new attempt")
    else:
        installation.kill(victim)


def _has_gone_on(database: Database, job_id: str) -> bool:
    columns = tables.jobs.c
    query = select(columns.crashes, columns.crash_step, columns.checkpoint_step)
    with database.read() as connection:
        row = connection.execute(query.where(columns.id == job_id)).one()
    return bool(row.crashes == 0 or row.checkpoint_step > row.crash_step)
