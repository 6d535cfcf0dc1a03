"""A worker that froze for longer than its lease: another one finishes, it changes nothing."""

from collections.abc import Callable

import pytest

from jobs import store
from tests.faults.conftest import Start, artifacts_of
from tests.faults.given import dataset, ended, fine_tune, job_when, trains
from tests.faults.installation import Frozen, Installation, Roster, running, wait_until
from tests.faults.laws import assert_ended, assert_equal_runs, assert_one_model, history_of

pytestmark = [pytest.mark.e2e, pytest.mark.faults]


def _with_its_trainer(installation: Installation, name: str) -> Frozen:
    return installation.frozen(name)


def _alone(installation: Installation, name: str) -> Frozen:
    return installation.frozen(name, with_descendants=False)


@pytest.mark.parametrize("freeze", [_with_its_trainer, _alone])
def test_another_worker_finishes_what_a_frozen_one_held_and_there_is_one_result(
    start: Start, freeze: Callable[[Installation, str], Frozen]
) -> None:
    installation = start(Roster(trains=2))
    database = installation.database()
    dataset_id = dataset(installation)
    undisturbed = fine_tune(installation, dataset_id, epochs=30)
    ended(database, undisturbed)

    disturbed = fine_tune(installation, dataset_id, epochs=30)
    held = job_when(database, disturbed, lambda job: trains(job, steps=2), "trains")
    name = str(installation.name_of_worker(held.worker_id))
    old = [each for each in installation.trainers() if each.fence == held.fence]
    with freeze(installation, name):
        ended(database, disturbed)
        last = history_of(database, disturbed)[-1].seq
        result = store.get(database, disturbed)
    wait_until(lambda: not {each.pid for each in old} & running(), "the old trainer has ended")

    # the frozen worker works again, on other jobs
    others = [fine_tune(installation, dataset_id) for _ in range(3)]
    ended(database, *others)
    job = assert_ended(database, disturbed)
    assert job.attempt >= 2
    assert (job.fence, job.event_seq, job.result) == (result.fence, last, result.result)
    assert_one_model(database, disturbed)
    assert_equal_runs(database, artifacts_of(installation), undisturbed, disturbed)
    for other in others:
        assert_ended(database, other)
    database.close()
