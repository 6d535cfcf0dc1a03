"""Trainings from original photos, as fastai presizes them, on a real worker."""

from collections.abc import Callable

import pytest

from jobs import curves, models
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from jobs.spec import EvaluationSpec, LrFindSpec, ProbeSpec
from tests.worker.conftest import TINY, fine_tune_spec, submit, wait_for
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]

MODE = {"presize_mode": "fastai", "presize": 72}


@pytest.mark.slow
def test_a_drained_fine_tune_goes_on_to_the_bit_where_it_was(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    spec = fine_tune_spec(dataset_id, epochs=10, **MODE)
    undisturbed, drained = (submit(database, JobType.FINE_TUNE, spec, dataset_id) for _ in range(2))

    supervisor = work("train")
    wait_for(database, drained.id, lambda job: _steps(job) >= 3)
    supervisor.drain()
    waiting = wait_for(database, drained.id, lambda job: job.state == JobState.QUEUED)
    work("train")
    ended = wait_for(database, drained.id, lambda job: job.is_terminal)

    assert waiting.checkpoint is not None
    assert ended.state == JobState.SUCCEEDED, ended.error
    first, second = (curves.read_points(database, job.id) for job in (undisturbed, drained))
    assert [point.loss for point in first] == [point.loss for point in second]
    made = models.list_models(database, models.ModelFilter(), after=None, limit=10)
    weights = [artifacts.absolute(model.path).read_bytes() for model in made]
    assert len(weights) == 2
    assert weights[0] == weights[1]
    assert not artifacts.pixels_folder().exists()


def test_an_evaluation_sees_the_photos_as_the_training_did(
    database: Database, work: Work, dataset_id: str
) -> None:
    spec = fine_tune_spec(dataset_id, epochs=1, **MODE)
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)
    work("train")
    trained = wait_for(database, job.id, lambda job: job.is_terminal)
    asked = EvaluationSpec(model=str(trained.model_id), dataset=dataset_id, precision="fp32")
    again = submit(database, JobType.EVALUATION, asked, dataset_id)

    work("train")
    evaluated = wait_for(database, again.id, lambda job: job.is_terminal)

    assert evaluated.state == JobState.SUCCEEDED, evaluated.error
    assert evaluated.result["reported_loss"] == pytest.approx(
        trained.result["reported_valid_loss"], abs=1e-5
    )


def test_a_range_test_and_its_probe_presize_nothing(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    find = LrFindSpec.model_validate({"dataset": dataset_id, "num_steps": 20, **TINY, **MODE})
    swept = submit(database, JobType.LR_FIND, find, dataset_id)
    probe = ProbeSpec(lr_find=find, phases=["frozen"])
    probed = submit(database, JobType.PROBE, probe, dataset_id)

    work("train")
    ended = [wait_for(database, job.id, lambda job: job.is_terminal) for job in (swept, probed)]

    assert [job.state for job in ended] == [JobState.SUCCEEDED] * 2, [job.error for job in ended]
    assert ended[1].result["probe"]["presized"] == {"train": True, "valid": True}
    assert ended[1].result["probe"]["photo_bytes"] > 0
    assert not artifacts.pixels_folder().exists()


def _steps(job: Job) -> int:
    return int((job.progress or {}).get("step") or 0) if job.state == JobState.RUNNING else 0
