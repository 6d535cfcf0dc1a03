"""Models as files for other programs: where they lie, who is writing them."""

from pathlib import Path

from sqlalchemy import Connection, select

from jobs import models, store, tables
from jobs.artifacts import Artifacts
from jobs.job import FINAL_STATES, QUEUE_OF, Job, JobState, JobType
from jobs.spec import ModelExportSpec

_UNFINISHED = [
    state.value for state in JobState if state not in FINAL_STATES | {JobState.CANCELLING}
]
_PRIORITY = 9


def onnx_file(artifacts: Artifacts, model_id: str) -> Path | None:
    """The model's ONNX file, if it has been written."""
    return next(iter(onnx_files(artifacts, model_id)), None)


def onnx_files(artifacts: Artifacts, model_id: str) -> list[Path]:
    """All ONNX files of the model: two workers may have written one each."""
    folder = artifacts.model_file(model_id).parent
    return list(artifacts.store.found(folder, f"{model_id}.*.onnx"))


def digest_of(file: Path) -> str:
    """SHA-256 of an ONNX file, hexadecimal, which its name says."""
    return file.name.split(".")[1]


def exporting_job(connection: Connection, artifacts: Artifacts, model_id: str) -> Job | None:
    """The unfinished job that writes the file, new where there was none; None once it is there.

    Rivals wait for each other at the model's row, so there is one export.

    Raises:
        NotFoundError: the model does not exist (any more).
    """
    model = models.fetch(connection, model_id, lock=True)
    if onnx_file(artifacts, model_id) is not None:
        return None
    columns = tables.jobs.c
    query = select(tables.jobs).where(
        columns.queue == QUEUE_OF[JobType.MODEL_EXPORT],
        columns.state.in_(_UNFINISHED),
        columns.type == JobType.MODEL_EXPORT.value,
        columns.spec["model"].as_string() == model_id,
    )
    row = connection.execute(query.order_by(columns.id).limit(1)).one_or_none()
    if row is not None:
        return store.as_job(row)
    spec = ModelExportSpec(model=model_id, priority=_PRIORITY)
    return store.submit(connection, JobType.MODEL_EXPORT, spec, dataset_id=None, owner=model.owner)
