"""What a worker keeps of photos: in which form, and for which jobs."""

from collections.abc import Callable

import pytest

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from jobs.settings import Settings
from jobs.spec import EvaluationSpec
from tests.worker.conftest import fine_tune_spec, submit, wait_for
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]


@pytest.fixture(params=[0, 1024**3], ids=["jpeg", "raw"])
def quick(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Settings under which all pixels are too many to be kept raw, or none are."""
    return settings.model_copy(
        update={"lease_s": 30.0, "threads": 1, "pixel_raw_bytes": request.param}
    )


def test_sizes_decide_how_pixels_are_kept_and_an_evaluation_reads_those_of_the_training(
    database: Database,
    work: Work,
    dataset_id: str,
    artifacts: Artifacts,
    request: pytest.FixtureRequest,
) -> None:
    form = request.node.callspec.id
    spec = fine_tune_spec(dataset_id, epochs=1, freeze_epochs=0)
    trained = submit(database, JobType.FINE_TUNE, spec, dataset_id)
    work("train")
    trained = _succeeded(database, trained)
    kept = _kept(artifacts)
    as_trained = {"batch_size": spec.batch_size, "precision": spec.precision}
    evaluation = EvaluationSpec.model_validate(
        {"model": trained.model_id, "dataset": dataset_id, **as_trained}
    )

    evaluated = submit(database, JobType.EVALUATION, evaluation, dataset_id)
    work("train")
    evaluated = _succeeded(database, evaluated)

    assert trained.resolved["pixels"] == {"value": form, "origin": "environment"}
    # the photos of both parts, and the squares of the one for validation
    assert len(kept) == 3
    assert _kept(artifacts) == kept
    assert evaluated.result["reported_loss"] == trained.result["reported_valid_loss"]


def _succeeded(database: Database, job: Job) -> Job:
    ended = wait_for(database, job.id, lambda job: job.is_terminal)
    assert ended.state == JobState.SUCCEEDED, ended.error
    return ended


def _kept(artifacts: Artifacts) -> set[str]:
    return {entry.name for entry in artifacts.pixels_folder().glob("*/")}
