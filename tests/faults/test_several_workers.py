"""Three workers on one database: jobs spread, the order holds, who dies is replaced."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from jobs.database import Database
from tests.faults.conftest import Start, artifacts_of
from tests.faults.given import dataset, ended, fine_tune, job_when, trains
from tests.faults.installation import Installation, Roster, wait_until
from tests.faults.laws import assert_ended, assert_equal_runs, assert_one_model, history_of
from tests.jobs.given import set_columns

pytestmark = [pytest.mark.e2e, pytest.mark.faults]

EPOCHS = 12
WORKERS = 3
NAMES = [f"train-{number}" for number in range(WORKERS)]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def installation(request: pytest.FixtureRequest, start: Start) -> Installation:
    """Three train workers on either kind of database; nobody loses a job by being slow."""
    changes: dict[str, object] = {}
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        changes["database_url"] = server.migrated_database()
    return start(Roster(trains=WORKERS), lease_s=10.0, **changes)


def test_jobs_spread_over_the_workers_by_priority_and_fairly(installation: Installation) -> None:
    database = installation.database()
    dataset_id = dataset(installation)
    _all_have_worked(installation, database, dataset_id)
    with _frozen_workers(installation):
        anas = [fine_tune(installation, dataset_id, epochs=4) for _ in range(7)]
        bens = [fine_tune(installation, dataset_id, epochs=4) for _ in range(3)]
        urgent = fine_tune(installation, dataset_id, epochs=4, priority=9)
        for owner, jobs in (("ana", [*anas, urgent]), ("ben", bens)):
            for job_id in jobs:
                set_columns(database, job_id, owner=owner)
    everything = [urgent, *anas, *bens]
    ended(database, *everything)

    began = _in_order(database, everything)
    # whoever claims in one moment does not see what the others are claiming
    assert urgent in began[:WORKERS]
    assert bens[0] in began[: WORKERS + 1]
    # of one line all of ana's, who was first, would have come before
    assert began.index(bens[-1]) < began.index(anas[-1])
    assert {_worker(installation, database, each) for each in everything} == set(NAMES)
    for job_id in everything:
        assert assert_ended(database, job_id).attempt == 1
    database.close()


def test_a_worker_that_is_killed_is_replaced_and_its_job_goes_on_elsewhere(
    installation: Installation,
) -> None:
    database = installation.database()
    dataset_id = dataset(installation)
    undisturbed = fine_tune(installation, dataset_id, epochs=EPOCHS)
    ended(database, undisturbed)

    disturbed = fine_tune(installation, dataset_id, epochs=EPOCHS)
    held = job_when(
        database, disturbed, lambda job: trains(job) and job.checkpoint_step > 0, "trains"
    )
    name = str(installation.name_of_worker(held.worker_id))
    installation.kill(name)
    wait_until(lambda: installation.members[name].lives == 2, "it is started again")
    ended(database, disturbed)

    # the one in its place takes what is there to be taken
    for other in set(NAMES) - {name}:
        installation.away(other)
    after = fine_tune(installation, dataset_id)
    ended(database, after)
    assert _worker(installation, database, after) == name
    job = assert_ended(database, disturbed)
    assert job.attempt == 2
    assert str(job.worker_id) != str(held.worker_id)
    assert_one_model(database, disturbed)
    assert_equal_runs(database, artifacts_of(installation), undisturbed, disturbed)
    database.close()


def test_what_no_worker_can_do_waits_and_the_others_are_left_alone(start: Start) -> None:
    installation = start(Roster(trains=0, prepares=2), look_s=0.2)
    database = installation.database()
    dataset_id = dataset(installation)

    waiting = fine_tune(installation, dataset_id)
    # imports behind it, each of which a worker has looked for
    for per_class in (11, 13):
        dataset(installation, per_class=per_class)

    history = [event.type for event in history_of(database, waiting)]
    assert history == ["job.queued"]
    assert all(member.lives == 1 for member in installation.members.values())
    database.close()


def _all_have_worked(installation: Installation, database: Database, dataset_id: str) -> None:
    """Each worker has everything loaded, and is as quick as the others."""
    seen: set[str | None] = set()

    def they_have() -> bool:
        jobs = [fine_tune(installation, dataset_id) for _ in range(WORKERS)]
        ended(database, *jobs)
        seen.update(_worker(installation, database, job_id) for job_id in jobs)
        return seen == set(NAMES)

    wait_until(they_have, "each worker has done a job")


@contextmanager
def _frozen_workers(installation: Installation) -> Iterator[None]:
    """None of them claims anything in the block, so that the queue stays as it is made."""
    with ExitStack() as frozen:
        for name in NAMES:
            frozen.enter_context(installation.frozen(name))
        yield


def _in_order(database: Database, job_ids: list[str]) -> list[str]:
    """The jobs in the order in which they began."""
    began = {
        job_id: next(
            event.at_ms for event in history_of(database, job_id) if event.type == "job.started"
        )
        for job_id in job_ids
    }
    return sorted(job_ids, key=lambda job_id: (began[job_id], job_id))


def _worker(installation: Installation, database: Database, job_id: str) -> str | None:
    """Who began the job last."""
    history = history_of(database, job_id)
    began = [event.data["worker"] for event in history if event.type == "job.started"]
    return installation.name_of_worker(began[-1])
