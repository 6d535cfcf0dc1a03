from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from jobs import models, store, verbs
from jobs.database import Database
from jobs.errors import JobsError, ModelInUseError, NotFoundError
from jobs.hyperparameters import WeightsFromJob, WeightsFromModel
from jobs.job import FINAL_STATES, Job, JobState, JobType
from jobs.models import Model, ModelFilter
from jobs.spec import EvaluationSpec, FineTuneSpec
from jobs.submission import RunSpec, submit
from tests.jobs import given


def test_a_model_comes_back_as_it_was_added(database: Database) -> None:
    model = given.a_model(database)

    assert models.get(database, model.id) == model


def test_a_model_that_does_not_exist_is_not_found(database: Database) -> None:
    with pytest.raises(NotFoundError, match="no model has the id 'mdl_0'"):
        models.get(database, "mdl_0")


def test_models_are_listed_newest_first_in_pages(database: Database) -> None:
    old, other, new = (
        given.a_model(database),
        given.a_model(database, dataset_id="ds_2"),
        given.a_model(database),
    )

    first = models.list_models(database, ModelFilter(), after=None, limit=2)
    rest = models.list_models(database, ModelFilter(), after=first[-1].id, limit=2)
    chosen = models.list_models(database, ModelFilter(dataset_id="ds_1"), after=None, limit=9)

    assert (first, rest, chosen) == ([new, other], [old], [new, old])


# --- deletion -------------------------------------------------------------------------------


def a_trained_model(database: Database) -> Model:
    """A model with the job that has made it."""
    job = given.job_in(database, JobState.SUCCEEDED)
    model = given.a_model(database, job_id=job.id)
    given.set_columns(database, job.id, model_id=model.id)
    return model


def user_of(database: Database, model: Model, job_type: JobType) -> Job:
    """A queued job that needs the model."""
    needed: Mapping[str, Any] = {"weights": WeightsFromJob(from_job=model.job_id)}
    if job_type == JobType.EVALUATION:
        needed = {"model": model.id}
    return given.a_job(database, job_type, **needed)


def test_a_deleted_model_is_gone_and_the_job_that_made_it_keeps_its_id(database: Database) -> None:
    model, other = a_trained_model(database), given.a_model(database)

    assert models.delete_model(database, model.id) == model

    with pytest.raises(NotFoundError):
        models.get(database, model.id)
    with pytest.raises(NotFoundError):
        models.delete_model(database, model.id)
    assert store.get(database, model.job_id).model_id == model.id
    assert models.get(database, other.id) == other


@pytest.mark.parametrize("job_type", [JobType.EVALUATION, JobType.FINE_TUNE, JobType.LR_FIND])
@pytest.mark.parametrize("state", sorted(JobState))
def test_a_model_that_an_unfinished_job_needs_stays(
    state: JobState, job_type: JobType, database: Database
) -> None:
    model = a_trained_model(database)
    user = user_of(database, model, job_type)
    given.set_columns(database, user.id, state=state.value)

    if state in FINAL_STATES:
        models.delete_model(database, model.id)
    else:
        with pytest.raises(ModelInUseError, match=f"{model.id} is in use by {user.id}"):
            models.delete_model(database, model.id)


def test_jobs_that_need_other_models_or_none_are_in_nobodys_way(database: Database) -> None:
    model, other = a_trained_model(database), given.a_model(database, job_id="job_2")
    for job_type in (JobType.EVALUATION, JobType.FINE_TUNE):
        user_of(database, other, job_type)
    given.a_job(database, JobType.FINE_TUNE)
    given.a_job(database, JobType.DATASET_IMPORT)

    models.delete_model(database, model.id)


def test_a_model_whose_weights_a_waiting_job_begins_with_stays(database: Database) -> None:
    model = a_trained_model(database)
    user = given.a_job(database, JobType.FINE_TUNE, weights=WeightsFromModel(model=model.id))

    with pytest.raises(ModelInUseError, match=f"{model.id} is in use by {user.id}"):
        models.delete_model(database, model.id)
    verbs.cancel(database, user.id)
    models.delete_model(database, model.id)

    spec = FineTuneSpec(dataset="ds_1", weights=WeightsFromModel(model=model.id))
    with pytest.raises(NotFoundError, match=model.id), database.write() as connection:
        submit(connection, spec)


@pytest.mark.parametrize("job_type", [JobType.EVALUATION, JobType.FINE_TUNE])
def test_a_job_is_not_queued_for_a_model_that_was_deleted(
    job_type: JobType, database: Database
) -> None:
    model = a_trained_model(database)
    models.delete_model(database, model.id)

    with pytest.raises(NotFoundError, match=model.id), database.write() as connection:
        submit(connection, spec_with(model, job_type))


def spec_with(model: Model, job_type: JobType) -> RunSpec:
    if job_type == JobType.EVALUATION:
        return EvaluationSpec(model=model.id, dataset="ds_1")
    return FineTuneSpec(dataset="ds_1", weights=WeightsFromJob(from_job=model.job_id))


@pytest.mark.parametrize("job_type", [JobType.EVALUATION, JobType.FINE_TUNE])
def test_of_a_deletion_and_a_submission_at_once_one_is_refused(
    job_type: JobType, database: Database
) -> None:
    for _ in range(8):
        model, together = given.a_model(database, job_id=_ended(database)), Barrier(2)
        given.set_columns(database, model.job_id, model_id=model.id)
        spec = spec_with(model, job_type)

        def queued(spec: RunSpec = spec) -> None:
            with database.write() as connection:
                submit(connection, spec)

        def deleted(model: Model = model) -> None:
            models.delete_model(database, model.id)

        def is_done(act: Callable[[], None], together: Barrier = together) -> bool:
            together.wait(timeout=60)
            try:
                act()
            except JobsError:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sum(pool.map(is_done, (queued, deleted))) == 1


def _ended(database: Database) -> str:
    job = given.a_job(database)
    verbs.cancel(database, job.id)
    given.set_columns(database, job.id, state="succeeded")
    return job.id
