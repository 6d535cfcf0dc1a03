"""Jobs done again: what is asked for, and how the database knows them."""

from typing import Any

import pytest

from jobs import datasets, leases, retries, store
from jobs.database import Database
from jobs.errors import InvalidTransitionError
from jobs.job import FINAL_STATES, Job, JobState, JobType, allowed_actions
from jobs.spec import FineTuneSpec
from jobs.submission import import_again, submit
from tests.jobs import given

INLINE = given.DATASET.model_dump(mode="json")
FOUND = {"learning_rate": {"value": 0.004, "origin": "lr_find", "job_id": "job_1"}}


def tuned(database: Database, resolved: dict[str, Any] | None = None, **fields: object) -> Job:
    """A fine-tune that has succeeded."""
    spec = FineTuneSpec.model_validate({"dataset": "ds_1", **fields})
    with database.write() as connection:
        job = store.submit(connection, JobType.FINE_TUNE, spec, dataset_id="ds_1")
    held = given.claimed(database)
    leases.succeed(database, job.id, held.fence, values={"resolved": resolved or {}})
    return store.get(database, job.id)


def failed_with_its_dataset(database: Database) -> tuple[Job, Job]:
    """A fine-tune and the import of its inline dataset, which has failed."""
    with database.write() as connection:
        made = submit(connection, FineTuneSpec.model_validate({"dataset": INLINE}))
    held = given.claimed(database, "prepare")
    leases.fail(database, held.id, held.fence, given.FAILURE)
    return store.get(database, made.job.id), store.get(database, held.id)


def test_a_retry_knows_which_job_it_does_again(database: Database) -> None:
    first = given.job_in(database, JobState.FAILED)

    with database.write() as connection:
        again = submit(connection, FineTuneSpec(dataset="ds_1"), retry_of=first.id).job

    assert (first.retry_of, again.retry_of) == (None, first.id)
    assert again.parent_id is None
    of_first = store.JobFilter(retry_of=first.id)
    assert store.list_jobs(database, of_first, after=None, limit=5) == [again]


def test_a_retry_stays_when_the_first_job_is_deleted(database: Database) -> None:
    first = given.job_in(database, JobState.FAILED)
    with database.write() as connection:
        again = submit(connection, FineTuneSpec(dataset="ds_1"), retry_of=first.id).job

    store.delete_job(database, first.id)

    assert store.get(database, again.id).retry_of == first.id


def test_the_rate_of_a_job_that_is_retried_is_found_anew_for_the_retry(database: Database) -> None:
    auto = FineTuneSpec(dataset="ds_1", learning_rate="auto")
    with database.write() as connection:
        first = submit(connection, auto)
        again = submit(connection, auto, retry_of=first.job.id)

    (find,) = again.before
    assert (find.parent_id, find.retry_of) == (again.job.id, None)
    assert store.made_for(database, first.job.id, JobType.LR_FIND) == first.before[0]


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL_STATES))
def test_only_a_finished_job_is_done_again(state: JobState, database: Database) -> None:
    job = given.job_in(database, state)

    with pytest.raises(InvalidTransitionError, match=f"is {state}: it cannot retry") as caught:
        retries.require_retriable(job)

    assert caught.value.allowed_actions == allowed_actions(job.type, state)


@pytest.mark.parametrize("job_type", [JobType.EXPORT, JobType.PROBE, JobType.MODEL_EXPORT])
def test_what_no_client_has_asked_for_is_not_done_again(
    job_type: JobType, database: Database
) -> None:
    job = given.job_in(database, JobState.FAILED, job_type)

    with pytest.raises(InvalidTransitionError, match="it allows nothing"):
        retries.require_retriable(job)


@pytest.mark.parametrize("job_type", sorted(set(retries.BODY_OF) - {JobType.DATASET_IMPORT}))
def test_the_body_of_a_job_asks_for_the_same_job(job_type: JobType, database: Database) -> None:
    job = given.job_in(database, JobState.FAILED, job_type)

    body = retries.body_of(database, job)

    assert retries.BODY_OF[job_type].model_validate(body) == given.SPECS[job_type]


def test_the_body_is_as_the_job_was_edited(database: Database) -> None:
    job = given.a_job(database)
    store.edit(database, job.id, {"name": "second", "priority": 7, "metadata": {"a": "b"}})

    body = retries.body_of(database, store.get(database, job.id))

    assert (body["name"], body["priority"], body["metadata"]) == ("second", 7, {"a": "b"})


def test_an_inline_dataset_is_the_one_that_was_made_of_it(database: Database) -> None:
    with database.write() as connection:
        made = submit(connection, FineTuneSpec.model_validate({"dataset": INLINE}))

    assert retries.body_of(database, made.job)["dataset"] == made.job.dataset_id


def test_an_inline_dataset_whose_import_failed_is_given_inline_again(database: Database) -> None:
    job, _ = failed_with_its_dataset(database)

    assert retries.body_of(database, job)["dataset"] == INLINE


def test_a_deleted_inline_dataset_is_not_made_again_unasked(database: Database) -> None:
    job, _ = failed_with_its_dataset(database)
    datasets.delete_dataset(database, str(job.dataset_id))

    assert retries.body_of(database, job)["dataset"] == job.dataset_id


def test_a_failed_import_done_again_makes_another_dataset(database: Database) -> None:
    _, failed = failed_with_its_dataset(database)
    assert retries.body_of(database, failed) == INLINE

    with database.write() as connection:
        again = import_again(connection, given.DATASET, failed).job

    assert again.retry_of == failed.id
    assert again.dataset_id != failed.dataset_id
    assert datasets.get(database, str(again.dataset_id)).state == "importing"
    assert datasets.get(database, str(failed.dataset_id)).state == "failed"


def test_training_on_begins_with_the_model_unfrozen_and_with_new_draws(database: Database) -> None:
    job = tuned(database, learning_rate=0.01, freeze_epochs=3, epochs=6, seed=2**32 - 1)

    body = retries.continuing(job, retries.body_of(database, job), 2)

    assert {name: value for name, value in body.items() if value != job.spec[name]} == {
        "weights": {"from_job": job.id},
        "freeze_epochs": 0,
        "epochs": 2,
        "seed": 0,
    }


@pytest.mark.parametrize("asked", ["auto", {"from_job": "job_1", "rule": "valley"}])
def test_training_on_keeps_the_rate_that_was_found(database: Database, asked: object) -> None:
    spec = given.SPECS[JobType.FINE_TUNE].model_dump(mode="json")
    job = tuned(database, FOUND)

    body = retries.continuing(job, {**spec, "learning_rate": asked}, 1)

    assert body["learning_rate"] == 0.004


@pytest.mark.parametrize(
    "asked", [{"lowest": 1e-5, "highest": 1e-3}, {"per_group": [1e-5, 1e-4, 1e-3]}]
)
def test_training_on_keeps_the_rates_of_each_group(database: Database, asked: object) -> None:
    job = tuned(database, FOUND, learning_rate=asked)

    assert retries.continuing(job, job.spec, 1)["learning_rate"] == asked


def test_an_override_replaces_a_whole_field_and_null_takes_it_away() -> None:
    body = {"augment": {"flip": False, "max_zoom": 2}, "epochs": 3, "seed": 1}

    changed = retries.overridden(body, {"augment": {"flip": True}, "epochs": None}, body)

    assert changed == {"augment": {"flip": True}, "seed": 1}


def test_a_null_that_is_no_field_is_left_for_the_spec_to_refuse() -> None:
    assert retries.overridden({"epochs": 3}, {"epoch": None}, ["epochs"]) == {
        "epochs": 3,
        "epoch": None,
    }
