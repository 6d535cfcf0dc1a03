"""Gets a planned training measured: finds a probe of the last day, or queues one and waits."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from starlette.concurrency import run_in_threadpool

from api.planning.premises import Premises
from api.schemas.plans import NoEstimate
from api.services import Services
from jobs import presence, store
from jobs.database import Database, db_now_ms
from jobs.datasets import Dataset
from jobs.hyperparameters import WeightsFile
from jobs.job import LEASED_STATES, QUEUE_OF, Job, JobState, JobType
from jobs.spec import FineTuneSpec, LrFindSpec, ProbeSpec

KEY = "probe_key"
"""Name, in a probe's metadata, of the digest of all that decides what it measures."""
_KEPT_MS = 24 * 3600 * 1000
_PRIORITY = 9
_LOOKED_AT = 50
_QUEUE = QUEUE_OF[JobType.PROBE]

PhaseName = Literal["frozen", "unfrozen"]


@dataclass(frozen=True, slots=True)
class Probed:
    """A probe that has ended well, and whether an earlier plan asked for it."""

    job: Job
    is_reused: bool


async def probed(
    services: Services, premises: Premises, *, owner: str, wait_s: float
) -> Probed | NoEstimate:
    """The measurement, made now unless there is one; what is missing where there is none.

    A free worker is waited for, without holding a thread or a connection.
    """
    dataset = premises.dataset
    if dataset is None:
        return NoEstimate(
            code="dataset_not_imported",
            detail="what the request describes is not imported by a dry run; "
            "register it by POST /v1/datasets, then plan with its id",
            job_id=None,
        )
    if premises.spec.devices > 1:
        return NoEstimate(
            code="several_devices",
            detail=f"a probe measures one device, and how much faster {premises.spec.devices} of "
            "them are is not known; plan with one device for the most that it would take",
            job_id=None,
        )
    # looked at first, so that no worker counts as busy because of this very probe
    hands = await run_in_threadpool(_hands, services.database)
    job = await run_in_threadpool(_find, services.database, premises, dataset, owner)
    if job is not None and job.state == JobState.SUCCEEDED:
        return Probed(job, is_reused=True)
    if hands == "none":
        return _no_workers(job)
    if job is None:
        job = await run_in_threadpool(_queue, services, premises, dataset, owner)
    if hands == "busy" and job.state == JobState.QUEUED:
        return NoEstimate(
            code="workers_busy",
            detail="every train worker has a job; the probe is next, ask again later",
            job_id=job.id,
        )
    return _outcome(await _ended(services, job, wait_s))


def phases_of(premises: Premises) -> list[PhaseName]:
    """Which phases' steps the training consists of, those of its own range test included."""
    spec, found = premises.spec, set[PhaseName]()
    find = spec if isinstance(spec, LrFindSpec) else premises.child
    if find is not None:
        found.add(swept_phase(find))
    if isinstance(spec, FineTuneSpec):
        found |= {"unfrozen"} if spec.epochs else set()
        found |= {"frozen"} if spec.freeze_epochs else set()
    return sorted(found)


def swept_phase(find: LrFindSpec) -> PhaseName:
    """The phase of a fine-tune whose steps cost what those of the sweep do, or at least as much.

    A sweep of one layer group costs less the nearer the group is to the head.
    """
    return "frozen" if find.sweep == "frozen_body" else "unfrozen"


def presized_since(database: Database, probe: Job, short_side: int) -> frozenset[str]:
    """The parts of the probe's dataset that trainings have presized since it ended."""
    parts: set[str] = set()
    for job_type, presizes in {
        JobType.LR_FIND: {"train"},
        JobType.FINE_TUNE: {"train", "valid"},
    }.items():
        chosen = store.JobFilter(
            type=job_type, state=JobState.SUCCEEDED, dataset_id=probe.dataset_id
        )
        for job in store.list_jobs(database, chosen, after=None, limit=_LOOKED_AT):
            later = (job.finished_ms or 0) >= (probe.finished_ms or 0)
            stores = job.spec.get("presize_mode", "single") == "single"
            if later and stores and job.spec["presize"] == short_side:
                parts |= presizes
    return frozenset(parts)


def key_of(premises: Premises, dataset: Dataset) -> str:
    """A digest of all that decides what a probe measures, but for the device."""
    spec = premises.spec
    weights = spec.weights.path if isinstance(spec.weights, WeightsFile) else spec.weights
    facts = {
        "digest": dataset.digest,
        "architecture": spec.architecture,
        # what other models hold costs what random weights do
        "weights": weights if isinstance(weights, str) else "none",
        "presize": spec.presize,
        "presize_mode": spec.presize_mode,
        "size": spec.size,
        "batch_size": premises.batch_size,
        "precision": spec.precision,
        "train_norm_layers": spec.train_norm_layers,
        "augment": spec.augment.model_dump(),
        "phases": phases_of(premises),
        "type": type(spec).__name__,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _find(database: Database, premises: Premises, dataset: Dataset, owner: str) -> Job | None:
    """The newest probe of the last day that has succeeded, here, or still may."""
    with database.read() as connection:
        since_ms = db_now_ms(connection) - _KEPT_MS
    chosen = store.JobFilter(
        type=JobType.PROBE,
        owner=owner,
        dataset_id=dataset.id,
        created_after_ms=since_ms,
        metadata={KEY: key_of(premises, dataset)},
    )
    devices = _devices(presence.present(database))
    for job in store.list_jobs(database, chosen, after=None, limit=_LOOKED_AT):
        if not job.is_terminal and job.state != JobState.CANCELLING:
            return job
        if job.state == JobState.SUCCEEDED and _is_from_here(job, devices):
            return job
    return None


def _devices(workers: Sequence[presence.Worker]) -> frozenset[str]:
    return frozenset(worker.device.split(":")[0] for worker in workers if worker.queue == _QUEUE)


def _is_from_here(job: Job, devices: frozenset[str]) -> bool:
    """Whether a present worker computes on such a device; without any the result still tells."""
    device = job.result["probe"]["environment"].get("device")
    return not devices or device is None or device in devices


def _hands(database: Database) -> Literal["free", "busy", "none"]:
    """Whether a train worker would take up the probe now."""
    workers = sum(worker.queue == _QUEUE for worker in presence.present(database))
    if workers == 0:
        return "none"
    states = store.queue_counts(database)[_QUEUE]
    held = sum(states.get(state.value, 0) for state in LEASED_STATES)
    return "free" if held < workers else "busy"


def _queue(services: Services, premises: Premises, dataset: Dataset, owner: str) -> Job:
    spec = premises.spec
    probe = ProbeSpec(
        lr_find=spec if isinstance(spec, LrFindSpec) else None,
        fine_tune=spec if isinstance(spec, FineTuneSpec) else None,
        phases=phases_of(premises),
        priority=_PRIORITY,
        metadata={KEY: key_of(premises, dataset)},
    )
    with services.database.write() as connection:
        job = store.submit(connection, JobType.PROBE, probe, dataset_id=dataset.id, owner=owner)
    services.doorbell.ring(_QUEUE, job.id)
    return job


async def _ended(services: Services, job: Job, wait_s: float) -> Job:
    """The job once it has ended, or as it is when the time is over."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + wait_s
    while not job.is_terminal and loop.time() < deadline_s and not services.feed.is_ending:
        job = await services.feed.until_changed(job, deadline_s - loop.time())
    return job


def _outcome(job: Job) -> Probed | NoEstimate:
    if job.state == JobState.SUCCEEDED:
        return Probed(job, is_reused=False)
    if not job.is_terminal:
        return NoEstimate(
            code="probe_pending",
            detail="the probe has not ended yet; ask again once it has",
            job_id=job.id,
        )
    told = job.error or {"code": job.state.value, "message": "it was cancelled"}
    return NoEstimate(
        code="probe_failed",
        detail=f"the training could not begin: {told['code']}: {told['message']}",
        job_id=job.id,
    )


def _no_workers(job: Job | None) -> NoEstimate:
    return NoEstimate(
        code="no_workers",
        detail="no train worker is there to measure it; start one, then ask again",
        job_id=None if job is None else job.id,
    )
