"""From what a client asks for to queued jobs: the job itself, and those that it needs first."""

from dataclasses import dataclass

from sqlalchemy import Connection

from jobs import datasets, dependencies, models, moves, store
from jobs.dataset_spec import DatasetSpec
from jobs.errors import NotFoundError
from jobs.hyperparameters import (
    AUTO,
    NO_WEIGHTS,
    LearningRateFromJob,
    WeightsFromJob,
    WeightsFromModel,
)
from jobs.ids import JobId, new_job_id
from jobs.job import Job, JobType
from jobs.job_fields import DatasetRef
from jobs.spec import (
    EvaluationSpec,
    FineTuneSpec,
    LrFindSpec,
    PredictionSpec,
    PresizingPreviewSpec,
)
from jobs.store import Chain
from jobs.version_spec import VersionOf

RunSpec = LrFindSpec | FineTuneSpec | EvaluationSpec | PredictionSpec | PresizingPreviewSpec
"""What runs on a dataset."""

_TYPE_OF: dict[type[RunSpec], JobType] = {
    LrFindSpec: JobType.LR_FIND,
    FineTuneSpec: JobType.FINE_TUNE,
    EvaluationSpec: JobType.EVALUATION,
    PredictionSpec: JobType.PREDICTION,
    PresizingPreviewSpec: JobType.PRESIZING_PREVIEW,
}


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job that was asked for, and those that were queued for it, in the order they run."""

    job: Job
    before: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class _Ids:
    """Ids given beforehand, so that a job's sorts behind those of the jobs that it needs."""

    dataset_import: JobId
    lr_find: JobId
    job: JobId


def submit(
    connection: Connection,
    spec: RunSpec,
    *,
    owner: str = store.LOCAL_OWNER,
    retry_of: str | None = None,
) -> Submitted:
    """The job is queued, as part of the transaction, behind all that it depends on.

    A dataset given inline is registered and imported first; a learning rate ``auto`` queues a
    learning-rate find. A job that depends on one that has failed is failed at once.
    ``retry_of`` is the job that this one does again.

    Raises:
        NotFoundError: a job that it depends on, or its model, does not exist (any more).
    """
    ids = _Ids(*sorted(new_job_id() for _ in range(3)))
    needs = named_jobs(spec)
    _lock(connection, needs)
    _keep_model(connection, spec)
    dataset_id, before = _dataset(connection, spec, ids, owner)
    needs += [job.id for job in before]
    if isinstance(spec, FineTuneSpec) and spec.learning_rate == AUTO:
        chain = Chain(job_id=ids.lr_find, parent_id=ids.job, depends_on=needs)
        find = lr_find_for(spec, dataset_id)
        before.append(_queued(connection, find, dataset_id, chain, owner))
        needs.append(ids.lr_find)
    chain = Chain(job_id=ids.job, depends_on=needs, retry_of=retry_of)
    job = _queued(connection, spec, dataset_id, chain, owner)
    return Submitted(job, tuple(before))


def import_again(
    connection: Connection,
    spec: DatasetSpec | VersionOf,
    failed: Job,
    *,
    owner: str = store.LOCAL_OWNER,
) -> Submitted:
    """Another dataset is registered, and the job that does the failed import again is queued.

    Raises:
        NotFoundError: what it is made from is gone.
    """
    chain, priority = Chain(retry_of=failed.id), failed.priority
    if isinstance(spec, VersionOf):
        dataset = datasets.register_version(
            connection, spec, owner=owner, chain=chain, priority=priority
        )
    else:
        dataset = datasets.register(connection, spec, owner=owner, chain=chain, priority=priority)
    return Submitted(store.fetch(connection, dataset.job_id), ())


def named_jobs(spec: RunSpec) -> list[str]:
    """The jobs that the spec names and waits for, each once."""
    named = list(spec.depends_on)
    if isinstance(spec, FineTuneSpec) and isinstance(spec.learning_rate, LearningRateFromJob):
        named.append(spec.learning_rate.from_job)
    if isinstance(spec, LrFindSpec | FineTuneSpec) and isinstance(spec.weights, WeightsFromJob):
        named.append(spec.weights.from_job)
    return list(dict.fromkeys(named))


def _lock(connection: Connection, job_ids: list[str]) -> None:
    # none of them can end or be deleted before this job is there to learn of it
    missing = set(job_ids).difference(dependencies.lock(connection, job_ids))
    if missing:
        raise NotFoundError("job", min(missing))


def _keep_model(connection: Connection, spec: RunSpec) -> None:
    """Whoever deletes the model that the job begins with waits, and then learns of the job."""
    if isinstance(spec, EvaluationSpec | PredictionSpec):
        models.fetch(connection, spec.model, lock=True)
    elif isinstance(spec, LrFindSpec | FineTuneSpec):
        weights = spec.weights
        if isinstance(weights, WeightsFromModel):
            models.fetch(connection, weights.model, lock=True)
        elif isinstance(weights, WeightsFromJob):
            maker = store.fetch(connection, weights.from_job)
            if maker.model_id is not None:
                models.fetch(connection, maker.model_id)


def _dataset(connection: Connection, spec: RunSpec, ids: _Ids, owner: str) -> tuple[str, list[Job]]:
    if not isinstance(spec.dataset, DatasetSpec):
        return spec.dataset, []
    chain = Chain(job_id=ids.dataset_import)
    dataset = datasets.register(
        connection, spec.dataset, owner=owner, chain=chain, priority=spec.priority
    )
    return dataset.id, [store.fetch(connection, dataset.job_id)]


def _queued(
    connection: Connection, spec: RunSpec, dataset_id: str, chain: Chain, owner: str
) -> Job:
    job = store.submit(
        connection, _TYPE_OF[type(spec)], spec, dataset_id=dataset_id, chain=chain, owner=owner
    )
    return moves.fail_if_in_vain(connection, job)


def lr_find_for(spec: FineTuneSpec, dataset: DatasetRef) -> LrFindSpec:
    """The range test of the same training: of every layer where no pretrained body is frozen."""
    shared = {
        name: getattr(spec, name)
        for name in LrFindSpec.model_fields
        if name in FineTuneSpec.model_fields and name not in {"dataset", "depends_on"}
    }
    sweep = "frozen_body" if spec.freeze_epochs and spec.weights != NO_WEIGHTS else "all"
    return LrFindSpec(**{**shared, "dataset": dataset, "sweep": sweep})
