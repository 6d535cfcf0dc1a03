"""Jobs that build on other jobs, on real workers."""

from collections.abc import Callable
from typing import Any

import pytest

from jobs import leases, models, store, verbs
from jobs.database import Database
from jobs.dataset_spec import DatasetSpec
from jobs.job import Job, JobState, JobType
from jobs.settings import Settings
from jobs.spec import EvaluationSpec, FineTuneSpec
from jobs.submission import RunSpec, Submitted, submit
from tests.worker.conftest import TINY, event_types, fine_tune_spec, wait_for
from tests.worker.photos import write_photos
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]

PHOTOS = {
    "name": "tiny",
    "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
    "split": {"rule": "random", "valid_fraction": 0.25},
}


@pytest.fixture
def inline(settings: Settings) -> dict[str, Any]:
    """The body of a dataset of tiny photos that is not registered yet."""
    folder = settings.dataset_roots[0] / "inline"
    write_photos(folder)
    return {**PHOTOS, "source": {"type": "path", "path": str(folder)}}


def submitted(database: Database, spec: RunSpec) -> Submitted:
    with database.write() as connection:
        return submit(connection, spec)


def ended(database: Database, job: Job) -> Job:
    return wait_for(database, job.id, lambda job: job.is_terminal)


def test_one_request_imports_finds_a_rate_and_trains_with_it(
    database: Database, work: Work, inline: dict[str, Any]
) -> None:
    body = {**TINY, "dataset": inline, "learning_rate": "auto", "epochs": 1}
    made = submitted(database, FineTuneSpec.model_validate(body))

    work("prepare")
    ended(database, made.before[0])
    work("train")
    job = ended(database, made.job)

    assert job.state == JobState.SUCCEEDED, job.error
    find = store.get(database, made.before[1].id)
    assert find.spec["sweep"] == "all"
    assert job.resolved["learning_rate"] == {
        "value": find.result["lr_curve"]["recommended"]["lr"],
        "origin": "lr_find",
        "job_id": find.id,
        "rule": "recommended",
    }


def test_where_the_find_says_nothing_the_default_is_used_and_told(
    database: Database, work: Work, dataset_id: str
) -> None:
    made = submitted(database, fine_tune_spec(dataset_id, learning_rate="auto", epochs=1))
    find = leases.claim_next(database, "train", "by-hand", lease_ms=60_000)
    assert find is not None
    nothing: dict[str, Any] = {"lr_curve": {"recommended": None, "suggestions": {}}}
    leases.succeed(database, find.id, find.fence, values={"result": nothing})

    work("train")
    job = ended(database, made.job)

    assert job.state == JobState.SUCCEEDED, job.error
    rate = {"value": 2e-3, "origin": "lr_find", "job_id": find.id, "rule": "default"}
    assert job.resolved["learning_rate"] == rate
    assert "job.warning" in event_types(database, job.id)


def test_an_import_that_fails_takes_the_training_along(
    database: Database, work: Work, settings: Settings
) -> None:
    source = {"type": "path", "path": str(settings.dataset_roots[0] / "nowhere")}
    dataset = DatasetSpec.model_validate({**PHOTOS, "source": source})
    made = submitted(database, FineTuneSpec(dataset=dataset))

    work("prepare")
    job = ended(database, made.job)

    assert job.state == JobState.FAILED
    assert job.error is not None
    assert job.error["cause"]["job_id"] == made.before[0].id
    assert job.error["cause"]["code"] == "source_unreachable"


def test_training_goes_on_from_another_jobs_model_with_its_head(
    database: Database, work: Work, dataset_id: str
) -> None:
    first = submitted(database, fine_tune_spec(dataset_id)).job
    weights = {"from_job": first.id}
    second = submitted(database, fine_tune_spec(dataset_id, weights=weights)).job

    work("train")
    job = ended(database, second)

    assert job.state == JobState.SUCCEEDED, job.error
    assert job.resolved["weights"] == {
        "value": {"from_job": first.id, "head": "kept"},
        "origin": "fine_tune",
        "job_id": first.id,
    }
    begun_with = store.get(database, first.id).model_id
    assert job.model_id != begun_with
    assert models.get(database, str(job.model_id)).card["parent_id"] == begun_with


@pytest.mark.slow
def test_training_begins_with_a_model_though_the_job_that_made_it_is_deleted(
    database: Database, work: Work, dataset_id: str
) -> None:
    first = submitted(database, fine_tune_spec(dataset_id)).job
    work("train")
    model_id = ended(database, first).model_id
    store.delete_job(database, first.id)
    made = submitted(
        database,
        fine_tune_spec(dataset_id, weights={"model": model_id}, learning_rate="auto"),
    )

    work("train")
    find, job = ended(database, made.before[0]), ended(database, made.job)

    assert job.state == JobState.SUCCEEDED, job.error
    begun_with = {"model": model_id, "head": "kept"}
    assert job.resolved["weights"]["value"] == find.resolved["weights"]["value"] == begun_with
    assert models.get(database, str(job.model_id)).card["parent_id"] == model_id


def test_a_found_rate_whose_job_was_deleted_is_told(
    database: Database, work: Work, dataset_id: str
) -> None:
    made = submitted(database, fine_tune_spec(dataset_id, learning_rate="auto"))
    find = made.before[0]
    work("train")
    ended(database, made.job)
    late = submitted(database, fine_tune_spec(dataset_id, learning_rate={"from_job": find.id})).job
    store.delete_job(database, find.id)

    work("train")
    job = ended(database, late)

    assert job.error is not None
    assert job.error["code"] == "dependency_failed"
    assert f"job {find.id} was deleted before this job began" in job.error["message"]


@pytest.mark.slow
def test_a_training_goes_on_with_its_found_rate_when_the_find_is_deleted(
    database: Database, work: Work, dataset_id: str
) -> None:
    made = submitted(database, fine_tune_spec(dataset_id, learning_rate="auto", epochs=6))
    work("train")
    wait_for(database, made.job.id, lambda job: job.phase == "unfrozen")
    verbs.pause(database, made.job.id)
    paused = wait_for(database, made.job.id, lambda job: job.state == JobState.PAUSED)

    store.delete_job(database, made.before[0].id)
    verbs.resume(database, made.job.id)
    work("train")
    job = ended(database, made.job)

    assert paused.checkpoint is not None
    assert job.state == JobState.SUCCEEDED, job.error
    assert job.resolved["learning_rate"] == paused.resolved["learning_rate"]
    assert job.resolved["learning_rate"]["job_id"] == made.before[0].id


def test_a_model_can_be_begun_with_when_its_job_is_deleted(
    database: Database, work: Work, dataset_id: str
) -> None:
    first = submitted(database, fine_tune_spec(dataset_id)).job
    supervisor = work("train")
    ended(database, first)
    supervisor.drain()
    second = submitted(database, fine_tune_spec(dataset_id, weights={"from_job": first.id})).job
    store.delete_job(database, first.id)

    work("train")
    job = ended(database, second)

    assert job.state == JobState.SUCCEEDED, job.error
    assert job.resolved["weights"]["value"] == {"from_job": first.id, "head": "kept"}


def test_an_inline_evaluation_on_other_labels_fails_by_name(
    database: Database, work: Work, dataset_id: str, inline: dict[str, Any]
) -> None:
    trained = submitted(database, fine_tune_spec(dataset_id)).job
    work("train")
    model_id = ended(database, trained).model_id
    labels = {"rule": "regex", "pattern": r"^(.+_\d)\d*\.jpg$"}
    body = {"model": model_id, "dataset": {**inline, "labels": labels}}
    made = submitted(database, EvaluationSpec.model_validate(body))

    work("prepare")
    ended(database, made.before[0])
    work("train")
    job = ended(database, made.job)

    assert job.type == JobType.EVALUATION
    assert job.error is not None
    assert job.error["code"] == "labels_mismatch"
    assert "'blue_0' (1 photo), 'blue_1' (3 photos)" in job.error["message"]
    assert "15 more (17 photos)" in job.error["message"]
