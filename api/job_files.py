"""The files that a job has left: ledgers, predictions, its model, and its record."""

from collections.abc import Iterator
from dataclasses import dataclass

from api.file_answers import StoredFile
from api.problems import Problem
from api.services import Services
from jobs import models
from jobs.artifacts import sha256_of
from jobs.errors import NotFoundError
from jobs.job import Job

PARQUET = "application/vnd.apache.parquet"


@dataclass(frozen=True, slots=True)
class JobFile:
    """One of a job's files, as clients name it."""

    name: str
    media_type: str
    stored: StoredFile


def files_of(services: Services, job: Job) -> list[JobFile]:
    """The job's files that are on the disk, by name."""
    found = [file for file in _named(services, job) if file.stored.path.is_file()]
    return sorted(found, key=lambda file: file.name)


def file_of(services: Services, job: Job, name: str) -> JobFile:
    """The job's file of this name.

    Raises:
        Problem: it has none; the detail names those that it has.
    """
    files = {file.name: file for file in files_of(services, job)}
    if name not in files:
        has = ", ".join(files) or "no files"
        raise Problem("not_found", f"job {job.id} has no file {name[:100]!r}; it has {has}")
    return files[name]


def _named(services: Services, job: Job) -> Iterator[JobFile]:
    for split, ledger in job.result.get("samples", {}).items():
        yield _parquet(services, f"samples-{split}.parquet", ledger)
    if "predictions" in job.result:
        yield _parquet(services, "predictions.parquet", job.result["predictions"])
    if job.model_id is not None:
        yield from _model(services, job.model_id)
    record = services.artifacts.record_file(job.id)
    if record.is_file():
        # it is written anew after a change, so its digest is that of now
        yield JobFile("job.json", "application/json", StoredFile(record, sha256_of(record)))


def _parquet(services: Services, name: str, written: dict[str, str]) -> JobFile:
    path = services.artifacts.absolute(written["path"])
    return JobFile(name, PARQUET, StoredFile(path, written["digest"]))


def _model(services: Services, model_id: str) -> Iterator[JobFile]:
    try:
        model = models.get(services.database, model_id)
    except NotFoundError:
        return
    stored = StoredFile(services.artifacts.absolute(model.path), model.digest)
    yield JobFile("model.safetensors", "application/octet-stream", stored)
