"""A model's files: its own, and those for other programs, which workers write when asked for."""

from starlette.concurrency import run_in_threadpool

from api import side_jobs
from api.file_answers import StoredFile
from api.problems import Problem
from api.services import Services
from jobs import model_exports
from jobs.job import QUEUE_OF, Job, JobState, JobType
from jobs.models import Model

_QUEUE = QUEUE_OF[JobType.MODEL_EXPORT]


def own_file(services: Services, model: Model) -> StoredFile:
    """The model's safetensors file.

    Raises:
        Problem: it is not there.
    """
    file = StoredFile(services.artifacts.absolute(model.path), model.digest)
    if services.artifacts.store.size_bytes(file.path) is None:
        raise Problem("not_found", f"the file of model {model.id} is not in the artifact store")
    return file


async def onnx_file(services: Services, model: Model, wait_s: float) -> StoredFile | Job:
    """The model as ONNX, or the job that has not written it when the time is over.

    Raises:
        NotFoundError: the model was deleted.
        Problem: nobody can write it, or the writing failed.
    """
    job = await run_in_threadpool(_begin, services, model)
    if job is not None:
        job = await side_jobs.ended(services, job, wait_s)
        if not job.is_terminal:
            return job
        fault = "the ONNX file could not be written"
        side_jobs.require_success(job, what="the export", fault=fault)
    file = await run_in_threadpool(model_exports.onnx_file, services.artifacts, model.id)
    if file is None:
        raise Problem("not_found", f"model {model.id} was deleted")
    return StoredFile(file, model_exports.digest_of(file))


def _begin(services: Services, model: Model) -> Job | None:
    """The job that writes the file; None when it is there."""
    if model_exports.onnx_file(services.artifacts, model.id) is not None:
        return None
    side_jobs.require_worker(services, _QUEUE, purpose="write an ONNX file")
    with services.database.write() as connection:
        job = model_exports.exporting_job(connection, services.artifacts, model.id)
    if job is not None and job.state == JobState.QUEUED:
        services.doorbell.ring(_QUEUE, job.id)
    return job
