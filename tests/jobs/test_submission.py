"""Chains of jobs: who waits for whom, and what happens to those who wait in vain."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from jobs import datasets, dependencies, leases, store, verbs
from jobs.claims import claimable_queues
from jobs.database import Database
from jobs.errors import InvalidTransitionError, NotFoundError
from jobs.job import Job, JobState, JobType
from jobs.spec import EvaluationSpec, FineTuneSpec, LrFindSpec
from jobs.submission import RunSpec, Submitted, submit
from tests.jobs import given

INLINE = given.DATASET.model_dump(mode="json")
DEEPER_THAN_THE_STACK = 400


def submitted(database: Database, spec: RunSpec) -> Submitted:
    with database.write() as connection:
        return submit(connection, spec)


def tune(**fields: Any) -> FineTuneSpec:  # noqa: ANN401 - whatever the spec has
    return FineTuneSpec.model_validate({"dataset": "ds_1", **fields})


def needed_by(database: Database, job: Job) -> list[str]:
    with database.read() as connection:
        return dependencies.of_jobs(connection, [job.id]).get(job.id, [])


def succeed(database: Database, queue: str, **values: Any) -> Job:  # noqa: ANN401 - columns
    """The next job of the queue, brought to a good end."""
    job = given.claimed(database, queue)
    leases.succeed(database, job.id, job.fence, values=values)
    return store.get(database, job.id)


def test_a_job_without_ties_waits_for_nobody(database: Database) -> None:
    made = submitted(database, tune())

    assert made.before == ()
    assert needed_by(database, made.job) == []
    assert given.claimed(database).id == made.job.id


def test_a_job_is_claimed_only_after_all_that_it_names_have_succeeded(database: Database) -> None:
    first, second = given.a_job(database, JobType.LR_FIND), given.a_job(database, JobType.LR_FIND)
    made = submitted(database, tune(depends_on=[first.id, second.id], priority=9))

    assert [succeed(database, "train").id for _ in range(2)] == [first.id, second.id]
    assert given.claimed(database).id == made.job.id


def test_nobody_is_rung_for_jobs_that_wait(database: Database) -> None:
    first = given.a_job(database, JobType.DATASET_IMPORT)
    submitted(database, tune(depends_on=[first.id]))

    assert claimable_queues(database) == ["prepare"]
    assert dependencies.queues_behind(database, first.id) == []

    succeed(database, "prepare")

    assert claimable_queues(database) == ["train"]
    assert dependencies.queues_behind(database, first.id) == ["train"]


def test_the_place_in_the_queue_leaves_out_who_must_wait(database: Database) -> None:
    first = given.a_job(database, JobType.DATASET_IMPORT)
    waiting = submitted(database, tune(depends_on=[first.id], priority=9)).job
    free = submitted(database, tune()).job

    with database.read() as connection:
        places = store.queue_positions(connection, [waiting.id, free.id])

    assert places == {waiting.id: 1, free.id: 1}


@pytest.mark.parametrize(
    "names",
    [
        {"learning_rate": {"from_job": "{}"}},
        {"weights": {"from_job": "{}"}},
        {"depends_on": ["{}"]},
        {"depends_on": ["{}"], "learning_rate": {"from_job": "{}"}},
    ],
)
def test_a_job_that_is_named_anywhere_is_waited_for(
    names: Mapping[str, Any], database: Database
) -> None:
    other = given.a_job(database, JobType.LR_FIND)

    made = submitted(database, tune(**_filled(names, other.id)))

    assert needed_by(database, made.job) == [other.id]


def _filled(names: Mapping[str, Any], job_id: str) -> dict[str, Any]:
    filled = {}
    for name, value in names.items():
        filled[name] = [job_id] if isinstance(value, list) else {"from_job": job_id}
    return filled


def test_a_named_job_that_does_not_exist_is_told(database: Database) -> None:
    with pytest.raises(NotFoundError, match="job_nobody"):
        submitted(database, tune(depends_on=["job_nobody"]))

    assert store.list_jobs(database, store.JobFilter(), after=None, limit=5) == []


def test_an_inline_dataset_is_imported_first(database: Database) -> None:
    spec = EvaluationSpec(model=given.a_model(database).id, dataset=given.DATASET)

    made = submitted(database, spec)

    (importing,) = made.before
    assert importing.type == JobType.DATASET_IMPORT
    assert importing.dataset_id == made.job.dataset_id
    assert datasets.get(database, str(made.job.dataset_id)).job_id == importing.id
    assert needed_by(database, made.job) == [importing.id]


def test_auto_finds_the_rate_for_the_same_training_first(database: Database) -> None:
    made = submitted(database, tune(learning_rate="auto", batch_size=8, seed=7, name="mine"))

    (find,) = made.before
    spec = LrFindSpec.model_validate(find.spec)
    assert (find.type, find.parent_id) == (JobType.LR_FIND, made.job.id)
    assert (spec.dataset, spec.batch_size, spec.seed, spec.sweep) == ("ds_1", 8, 7, "frozen_body")
    assert needed_by(database, made.job) == [find.id]
    assert store.made_for(database, made.job.id, JobType.LR_FIND) == store.get(database, find.id)


@pytest.mark.parametrize("fields", [{"freeze_epochs": 0}, {"weights": "none"}])
def test_auto_sweeps_every_layer_where_no_pretrained_body_is_frozen(
    fields: Mapping[str, Any], database: Database
) -> None:
    (find,) = submitted(database, tune(learning_rate="auto", **fields)).before

    assert find.spec["sweep"] == "all"


def test_one_request_can_queue_the_whole_chain(database: Database) -> None:
    made = submitted(database, tune(dataset=INLINE, learning_rate="auto"))

    importing, find = made.before
    assert needed_by(database, find) == [importing.id]
    assert needed_by(database, made.job) == [importing.id, find.id]
    assert importing.id < find.id < made.job.id
    assert succeed(database, "prepare").id == importing.id
    assert succeed(database, "train").id == find.id
    assert given.claimed(database).id == made.job.id


def test_all_jobs_of_a_chain_have_the_priority_of_the_one_asked_for(database: Database) -> None:
    made = submitted(database, tune(dataset=INLINE, learning_rate="auto", priority=9))

    assert [job.priority for job in (*made.before, made.job)] == [9, 9, 9]


def test_an_edited_priority_reaches_the_jobs_made_for_it(database: Database) -> None:
    other = given.a_job(database, JobType.LR_FIND)
    made = submitted(database, tune(learning_rate="auto", depends_on=[other.id], name="mine"))

    store.edit(database, made.job.id, {"priority": 8, "name": "ours"})

    find = store.get(database, made.before[0].id)
    assert (find.priority, find.name, find.version) == (8, "mine", 2)
    assert store.get(database, made.job.id).priority == 8
    assert store.get(database, other.id).priority == 5


def test_who_waits_in_vain_fails_with_the_first_cause(database: Database) -> None:
    made = submitted(database, tune(dataset=INLINE, learning_rate="auto"))
    importing, find = made.before
    job = given.claimed(database, "prepare")

    leases.fail(database, job.id, job.fence, given.FAILURE)

    cause = {"job_id": importing.id, "code": "loss_diverged", "message": given.FAILURE.message}
    for waited in (find.id, made.job.id):
        failed = store.get(database, waited)
        assert failed.state == JobState.FAILED
        assert failed.error is not None
        assert (failed.error["code"], failed.error["cause"]) == ("dependency_failed", cause)
        assert given.history(database, waited) == ["job.queued", "job.failed"]


def test_a_cancelled_job_takes_those_that_wait_for_it_along(database: Database) -> None:
    other = given.a_job(database, JobType.LR_FIND)
    made = submitted(database, tune(learning_rate={"from_job": other.id}))

    verbs.cancel(database, other.id)

    failed = store.get(database, made.job.id)
    assert failed.error is not None
    assert failed.error["cause"]["code"] == "cancelled"
    assert f"job {other.id} (lr_find), which was cancelled" in failed.error["message"]


@pytest.mark.parametrize(
    ("state", "ends"),
    [(JobState.QUEUED, JobState.CANCELLED), (JobState.RUNNING, JobState.CANCELLING)],
)
def test_cancelling_an_auto_job_cancels_its_find(
    state: JobState, ends: JobState, database: Database
) -> None:
    made = submitted(database, tune(learning_rate="auto"))
    given.bring[state](database, JobType.LR_FIND)

    cancelled = verbs.cancel(database, made.job.id)

    assert cancelled.state == JobState.CANCELLED
    assert store.get(database, made.before[0].id).state == ends
    assert given.history(database, made.job.id) == ["job.queued", "job.cancelled"]


def test_cancelling_leaves_other_jobs_finds_alone(database: Database) -> None:
    other = given.a_job(database, JobType.LR_FIND)
    made = submitted(database, tune(learning_rate={"from_job": other.id}))

    verbs.cancel(database, made.job.id)

    assert store.get(database, other.id).state == JobState.QUEUED


def test_a_finished_find_stays_when_its_job_is_cancelled(database: Database) -> None:
    made = submitted(database, tune(learning_rate="auto"))
    succeed(database, "train")

    verbs.cancel(database, made.job.id)

    assert store.get(database, made.before[0].id).state == JobState.SUCCEEDED


def test_a_paused_job_that_waits_in_vain_fails_like_the_others(database: Database) -> None:
    made = submitted(database, tune(learning_rate="auto"))
    verbs.pause(database, made.job.id)

    verbs.cancel(database, made.before[0].id)

    failed = store.get(database, made.job.id)
    assert failed.state == JobState.FAILED
    assert failed.error is not None
    assert failed.error["code"] == "dependency_failed"
    assert given.history(database, made.job.id) == ["job.queued", "job.paused", "job.failed"]


def test_a_chain_of_any_length_fails_from_end_to_end(database: Database) -> None:
    first = last = given.a_job(database, JobType.LR_FIND)
    for _ in range(DEEPER_THAN_THE_STACK):
        last = submitted(database, tune(depends_on=[last.id])).job

    verbs.cancel(database, first.id)

    error = store.get(database, last.id).error
    assert error is not None
    assert error["cause"]["job_id"] == first.id


def test_a_job_behind_two_that_fail_fails_once(database: Database) -> None:
    first = given.a_job(database, JobType.LR_FIND)
    left, right = (submitted(database, tune(depends_on=[first.id])).job for _ in range(2))
    last = submitted(database, tune(depends_on=[right.id, left.id])).job

    verbs.cancel(database, first.id)

    assert given.history(database, last.id) == ["job.queued", "job.failed"]


def test_a_job_that_depends_on_a_failed_one_fails_at_once(database: Database) -> None:
    failed = given.job_in(database, JobState.FAILED, JobType.LR_FIND)

    made = submitted(database, tune(depends_on=[failed.id]))

    assert made.job.state == JobState.FAILED


def test_what_has_succeeded_can_be_deleted_under_a_waiting_job(database: Database) -> None:
    done = given.job_in(database, JobState.SUCCEEDED, JobType.LR_FIND)
    made = submitted(database, tune(learning_rate={"from_job": done.id}))

    store.delete_job(database, done.id)

    assert given.claimed(database).id == made.job.id


def test_ends_and_cancels_of_a_chain_at_once_leave_no_one_waiting(database: Database) -> None:
    """Both lock several jobs: they must neither wait in a circle nor miss each other."""
    for _ in range(10):
        made = submitted(database, tune(learning_rate="auto"))
        find = given.claimed(database)
        with ThreadPoolExecutor(3) as threads:
            ending = threads.submit(leases.fail, database, find.id, find.fence, given.FAILURE)
            cancels = threads.submit(_cancel_or_late, database, made.job.id)
            behind = threads.submit(submitted, database, tune(depends_on=[find.id, made.job.id]))
            ending.result()
            cancels.result()
            last = behind.result().job.id
        for job_id in (find.id, made.job.id, last):
            assert store.get(database, job_id).is_terminal
            given.history(database, job_id)


def _cancel_or_late(database: Database, job_id: str) -> None:
    job = store.get(database, job_id)
    if not job.is_terminal:
        try:
            verbs.cancel(database, job_id)
        except InvalidTransitionError:
            assert store.get(database, job_id).state == JobState.FAILED
