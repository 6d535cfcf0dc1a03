"""Real jobs, their database lost and built again: clients read what they read before."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from api.app import create_app
from jobs import records
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import JobState, JobType
from jobs.restore import restore
from jobs.settings import Settings
from jobs.spec import EvaluationSpec, FineTuneSpec
from jobs.submission import submit
from tests.api.conftest import TestClient
from tests.worker.conftest import fine_tune_spec, wait_for
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]


@pytest.fixture
def other_url(tmp_path: Path) -> Iterator[str]:
    """The address of the database that takes the lost one's place."""
    url = f"sqlite:///{tmp_path}/other.db"
    database = Database(url)
    database.migrate()
    yield url
    database.close()


def answers(settings: Settings, paths: list[str]) -> Mapping[str, bytes]:
    """The bodies that a client reads."""
    found = {}
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        for path in paths:
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.text)
            found[path] = answer.content
    return found


def test_a_restored_database_gives_the_same_answers(
    database: Database, quick: Settings, work: Work, dataset_id: str, other_url: str
) -> None:
    broken = quick.dataset_roots[0] / "broken.pth"
    broken.write_bytes(b"no weights")
    paths = [*trained(database, work, dataset_id, broken), *of_dataset(dataset_id)]
    before = answers(quick, paths)
    records.write_due(database, Artifacts(quick.artifacts))

    other = Database(other_url)
    report = restore(other, Artifacts(quick.artifacts))
    other.close()

    assert report.problems == []
    after = answers(quick.model_copy(update={"database_url": other_url}), paths)
    for path in paths:
        assert after[path] == before[path], path


def trained(database: Database, work: Work, dataset_id: str, broken: Path) -> list[str]:
    """Addresses of a fine-tune with a model, its evaluation, and a job that failed."""
    job_id = ended(database, work, fine_tune_spec(dataset_id, name="tiny"))
    model_id = wait_for(database, job_id, lambda job: job.is_terminal).model_id
    body = {"model": model_id, "dataset": dataset_id, "precision": "fp32"}
    evaluated = ended(database, work, EvaluationSpec.model_validate(body))
    failing = fine_tune_spec(dataset_id, weights={"path": str(broken)}, depends_on=[job_id])
    failed = ended(database, work, failing, JobState.FAILED)
    jobs = [f"/v1/jobs/{each}" for each in (job_id, evaluated, failed)]
    results = [f"{jobs[0]}/{part}" for part in ("samples", "loss-curve", "confusion", "logs")]
    return [*jobs, *results, f"/v1/models/{model_id}", f"/v1/models/{model_id}/download"]


def of_dataset(dataset_id: str) -> list[str]:
    own = f"/v1/datasets/{dataset_id}"
    # whole lists: a cursor is signed, and another installation has other keys
    lists = [f"{own}/items", "/v1/jobs", "/v1/models"]
    return [own, f"{own}/report", *(f"{path}?limit=200" for path in lists)]


def ended(
    database: Database,
    work: Work,
    spec: FineTuneSpec | EvaluationSpec,
    state: JobState = JobState.SUCCEEDED,
) -> str:
    with database.write() as connection:
        job = submit(connection, spec).job
    work("train")
    done = wait_for(database, job.id, lambda job: job.is_terminal)
    assert done.state == state, done.error
    assert done.type in {JobType.FINE_TUNE, JobType.EVALUATION}
    return job.id


def test_a_worker_writes_the_file_of_each_job_that_it_has_ended(
    database: Database, quick: Settings, work: Work, dataset_id: str
) -> None:
    job_id = ended(database, work, fine_tune_spec(dataset_id, epochs=1))
    file = Artifacts(quick.artifacts).record_file(job_id)

    with database.read() as connection:
        record = records.read(connection, job_id)
    # the next job is claimed after the file is written
    ended(database, work, fine_tune_spec(dataset_id, epochs=1))

    assert record is not None
    assert file.read_bytes() == records.encoded(record)
