"""Every kind of job, done by a real worker, writes below its own folder and is deleted with it."""

from collections.abc import Callable, Iterator

import pytest

from api.app import create_app
from jobs import datasets, models
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import JobState, JobType
from jobs.settings import Settings
from jobs.spec import (
    EvaluationSpec,
    ExportSpec,
    JobSpec,
    LrFindSpec,
    PresizingPreviewSpec,
    ProbeSpec,
)
from tests.api.conftest import TestClient
from tests.worker.conftest import TINY, fine_tune_spec, submit, wait_for
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]

QUEUES = {JobType.EXPORT: "prepare", JobType.PRESIZING_PREVIEW: "prepare"}
SHARED = {"datasets", "models", "pixels"}


@pytest.fixture
def client(quick: Settings) -> Iterator[TestClient]:
    """A client of the whole application."""
    with TestClient(create_app(quick), base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.slow
def test_a_deleted_job_leaves_no_file_whatever_it_was(
    client: TestClient, database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    def done(kind: JobType, spec: JobSpec) -> str:
        job = submit(database, kind, spec, dataset_id)
        work(QUEUES.get(kind, "train"))
        job = wait_for(database, job.id, lambda job: job.is_terminal)
        assert job.state == JobState.SUCCEEDED, job.error
        return job.id

    training = fine_tune_spec(dataset_id)
    made = [done(JobType.FINE_TUNE, training)]
    model = models.made_by(database, made[0])
    assert model is not None
    made += [
        done(JobType.LR_FIND, LrFindSpec.model_validate({"dataset": dataset_id, **TINY})),
        done(JobType.EVALUATION, EvaluationSpec(model=model.id, dataset=dataset_id)),
        done(
            JobType.PRESIZING_PREVIEW,
            PresizingPreviewSpec(dataset=dataset_id, presize=64, size=48),
        ),
        done(JobType.PROBE, ProbeSpec(fine_tune=training)),
        done(JobType.EXPORT, ExportSpec(job=made[0], plot="loss-curve", content="c")),
        datasets.get(database, dataset_id).job_id,
    ]

    for job_id in made:
        assert client.delete(f"/v1/jobs/{job_id}").status_code == 204

    assert list((artifacts.root / "jobs").iterdir()) == []
    assert {path.name for path in artifacts.root.iterdir()} == {"jobs", *SHARED}
    assert list((artifacts.root / "models").iterdir()) == [artifacts.absolute(model.path)]
    assert client.get(f"/v1/models/{model.id}/download").status_code == 200
    assert client.delete(f"/v1/models/{model.id}").status_code == 204
    assert list((artifacts.root / "models").iterdir()) == []
    assert client.delete(f"/v1/datasets/{dataset_id}").status_code == 204
    assert list((artifacts.root / "datasets").iterdir()) == []
