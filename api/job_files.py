"""The files that a job has left: ledgers, predictions, its model, and its record."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from api.file_answers import StoredFile
from api.problems import Problem
from api.services import Services
from jobs import models
from jobs.errors import NotFoundError
from jobs.job import Job

PARQUET = "application/vnd.apache.parquet"


@dataclass(frozen=True, slots=True)
class JobFile:
    """One of a job's files, as clients name it."""

    name: str
    media_type: str
    stored: StoredFile
    size_bytes: int


def files_of(services: Services, job: Job) -> list[JobFile]:
    """The job's files that are there, by name."""
    return sorted(_there(services, job), key=lambda file: file.name)


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


def _there(services: Services, job: Job) -> Iterator[JobFile]:
    for name, media_type, stored in _named(services, job):
        size_bytes = services.artifacts.store.size_bytes(stored.path)
        if size_bytes is not None:
            yield JobFile(name, media_type, stored, size_bytes)
    yield from _record(services, job)


def _named(services: Services, job: Job) -> Iterator[tuple[str, str, StoredFile]]:
    for split, ledger in job.result.get("samples", {}).items():
        yield f"samples-{split}.parquet", PARQUET, _parquet(services, ledger)
    if "predictions" in job.result:
        yield "predictions.parquet", PARQUET, _parquet(services, job.result["predictions"])
    if job.model_id is not None:
        for stored in _model(services, job.model_id):
            yield "model.safetensors", "application/octet-stream", stored


def _record(services: Services, job: Job) -> Iterator[JobFile]:
    path = services.artifacts.record_file(job.id)
    try:
        content = services.artifacts.store.read(path)
    except FileNotFoundError:
        return
    # it is written anew after a change, so its digest is that of now
    digest = hashlib.sha256(content).hexdigest()
    yield JobFile("job.json", "application/json", StoredFile(path, digest), len(content))


def _parquet(services: Services, written: dict[str, str]) -> StoredFile:
    return StoredFile(services.artifacts.absolute(written["path"]), written["digest"])


def _model(services: Services, model_id: str) -> Iterator[StoredFile]:
    try:
        model = models.get(services.database, model_id)
    except NotFoundError:
        return
    yield StoredFile(services.artifacts.absolute(model.path), model.digest)
