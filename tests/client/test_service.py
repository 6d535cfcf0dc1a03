"""The client and the service understand each other."""

from pathlib import Path
from typing import get_args

import pytest

import api.schemas.datasets
import api.schemas.events
import api.schemas.jobs
import api.schemas.models
import api.schemas.prediction_rows
import api.schemas.samples
import api.schemas.uploads
import tests.api.conftest  # noqa: F401  (silences the test client, so it comes first)
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import JobType
from jobs.settings import Settings
from tests.api import given
from tests.archives import a_zip
from tests.client.examples import example_of
from tunesmith_client import (
    BadRequestError,
    BrokenFileError,
    Client,
    ConflictError,
    Dataset,
    Event,
    Job,
    JobCancelledError,
    JobFailedError,
    Model,
    NotFoundError,
    Sample,
    StillRunningError,
    UnauthenticatedError,
    Upload,
    pages,
    sources,
)
from tunesmith_client import jobs as client_jobs
from tunesmith_client.resources import Resource
from tunesmith_client.result_resources import PredictionRow

SAME = [
    (Job, api.schemas.jobs.JobResource),
    (Dataset, api.schemas.datasets.DatasetResource),
    (Event, api.schemas.events.EventResource),
    (Model, api.schemas.models.ModelResource),
    (Upload, api.schemas.uploads.UploadResource),
    (Sample, api.schemas.samples.SampleResource),
    (PredictionRow, api.schemas.prediction_rows.PredictionRow),
]


@pytest.mark.parametrize(("ours", "theirs"), SAME, ids=[ours.__name__ for ours, _ in SAME])
def test_the_client_reads_the_example_of_each_answer_and_loses_nothing_of_it(
    ours: type[Resource], theirs: type[Resource]
) -> None:
    example = example_of(theirs)

    read = ours.model_validate(example)

    assert ours.model_fields.keys() <= theirs.model_fields.keys()
    assert read.json_body() == example


def test_every_kind_of_job_that_can_be_submitted_has_its_path(client: Client) -> None:
    paths = client.get("/openapi.json")["paths"]

    assert set(client_jobs.PATH_OF) == set(get_args(client_jobs.Kind))
    assert {path for path in client_jobs.PATH_OF.values() if "post" not in paths[path]} == set()


def test_a_dataset_is_registered_listed_and_read(client: Client, settings: Settings) -> None:
    folder = settings.dataset_roots[0] / "pets"
    given.files(folder, *(f"{label}_{number}.jpg" for label in "ab" for number in range(4)))

    dataset = client.datasets.register(
        "pets",
        sources.folder(str(folder)),
        {"rule": "regex", "pattern": r"^(.)_\d\.jpg$"},
        split={"rule": "random", "valid_fraction": 0.5},
    )

    assert (dataset.name, dataset.state) == ("pets", "importing")
    assert [each.id for each in client.datasets.list()] == [dataset.id]
    assert client.datasets.get(dataset.id).split["valid_fraction"] == 0.5
    with pytest.raises(ConflictError) as refused:
        client.datasets.report(dataset.id)
    assert refused.value.kind == "dataset_not_ready"


def test_an_archive_is_sent_with_its_digest_and_the_bytes_are_counted(
    client: Client, tmp_path: Path
) -> None:
    archive = tmp_path / "pets.zip"
    archive.write_bytes(a_zip({"a_1.jpg": b"1"}))
    size = archive.stat().st_size
    counted: list[tuple[int, int | None]] = []

    upload = client.uploads.send(archive, advance=lambda *count: counted.append(count))

    assert upload.size_bytes == size
    assert counted[-1] == (size, size)
    assert client.uploads.get(upload.id) == upload


def test_what_is_wrong_is_named_with_the_closest_names(client: Client) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.jobs.submit("fine_tune", dataset="ds_1", epoch=3, batch_size=0)

    problem = refused.value
    assert problem.kind == "validation_failed"
    assert problem.did_you_mean == ("epochs",)
    assert [error.pointer for error in problem.errors] == ["/batch_size", "/epoch"]
    assert problem.request_id is not None
    assert '/epoch: there is no field "epoch"; did you mean epochs?' in str(problem)


def test_jobs_are_submitted_once_for_each_key(client: Client, database: Database) -> None:
    dataset = given.ready_dataset(database)
    body = {"dataset": dataset.id, "architecture": "resnet18", "weights": "none"}

    first, again = (client.jobs.submit("lr_find", body, idempotency_key="once") for _ in range(2))
    other = client.jobs.submit("lr_find", body)

    assert first.id == again.id != other.id
    assert first.state == "queued"


def test_jobs_come_page_after_page(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "LARGEST_PAGE", 2)
    dataset = given.ready_dataset(database)
    made = {given.queued(database, JobType.LR_FIND, dataset).id for _ in range(5)}

    listed = [job.id for job in client.jobs.list(type="lr_find")]

    assert len(listed) == len(set(listed)) == 5
    assert set(listed) == made
    assert [job.id for job in client.jobs.list(type="lr_find", limit=3)] == listed[:3]


def test_a_training_is_paused_resumed_and_cancelled(client: Client, database: Database) -> None:
    job_id = given.queued(database, JobType.FINE_TUNE, given.ready_dataset(database)).id

    assert client.jobs.pause(job_id).state == "paused"
    assert client.jobs.resume(job_id).state == "queued"
    assert client.jobs.cancel(job_id).state == "cancelled"
    with pytest.raises(ConflictError, match="it allows retry"):
        client.jobs.stop(job_id)
    with pytest.raises(JobCancelledError):
        client.jobs.wait(job_id)
    assert client.jobs.retry(job_id, overrides={"epochs": 7}).hyperparameters["epochs"] == 7


def test_waiting_ends_when_the_time_is_over(client: Client, database: Database) -> None:
    job_id = given.queued(database, JobType.LR_FIND, given.ready_dataset(database)).id

    with pytest.raises(StillRunningError, match=r"is queued after 0 s"):
        client.jobs.wait(job_id, timeout_s=0)


def test_the_ledger_comes_row_by_row_and_as_a_file(
    client: Client, database: Database, artifacts: Artifacts, tmp_path: Path
) -> None:
    job = given.evaluated(database, artifacts, given.ready_dataset(database))

    rows = list(client.results.samples(job.id))
    page = client.results.sample_page(job.id, limit=1)
    file = client.results.samples_file(job.id, tmp_path / "rows.csv")

    losses = [row.loss for row in rows if row.loss is not None]
    assert losses == sorted(losses, reverse=True)
    assert page.aggregate.count == len(rows)
    assert len(file.read_text().splitlines()) == 1 + len(rows)
    assert [path.name for path in tmp_path.glob(".*.part")] == []


def test_a_model_whose_file_is_not_that_of_its_digest_is_not_kept(
    client: Client, database: Database, artifacts: Artifacts, tmp_path: Path
) -> None:
    # its digest is made up
    model = given.a_model(database, artifacts, given.ready_dataset(database))

    with pytest.raises(BrokenFileError, match=model.digest):
        client.models.download(model.id, tmp_path / "model.safetensors")

    assert [path.name for path in tmp_path.glob("*model.safetensors*")] == []


def test_what_does_not_exist_is_not_found(client: Client) -> None:
    with pytest.raises(NotFoundError, match="no job has the id 'job_nothing'"):
        next(client.jobs.events("job_nothing"))
    with pytest.raises(NotFoundError):
        client.models.get("mdl_nothing")


def test_a_failed_job_says_why() -> None:
    error = {"code": "out_of_memory", "message": "no room", "hint": "use a smaller size"}
    example = example_of(api.schemas.jobs.JobResource)
    job = Job.model_validate({**example, "state": "failed", "error": error})

    with pytest.raises(JobFailedError, match=r"failed: no room \(out_of_memory\). use a smaller"):
        client_jobs.succeeded(job)


def test_a_service_that_asks_for_keys_gets_none_from_a_client_without(
    with_keys_url: str, database: Database
) -> None:
    secret = given.bearer(database)["Authorization"].removeprefix("Bearer ")

    with Client(with_keys_url) as without, pytest.raises(UnauthenticatedError):
        next(without.jobs.list())
    with Client(with_keys_url, key=secret) as client:
        assert list(client.jobs.list()) == []
