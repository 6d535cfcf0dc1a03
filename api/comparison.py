"""Jobs side by side: what was asked for otherwise, what came of it, curves on common axes."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from api.loss_curves import spacing
from api.schemas.comparisons import (
    AlignedCurves,
    AlignedEpochs,
    AlignedSteps,
    ComparedJob,
    Difference,
    Seeds,
    Spread,
)
from api.services import Services
from jobs import curves, store
from jobs.curves import EpochRow
from jobs.job import Job, JobState, JobType
from jobs.store import JobFilter

COMPARABLE = frozenset({JobType.LR_FIND, JobType.FINE_TUNE, JobType.EVALUATION})
MOST_SEEDS = 200

_FOR_PEOPLE = frozenset({"name", "metadata", "priority"})
"""Fields that change nothing in what is computed."""

_Values = Mapping[str, Any]


def compared_job(services: Services, job: Job, owner: str | None) -> ComparedJob:
    """The job with its metrics, and those of jobs that differ by the seed alone."""
    loss, accuracy = _metrics(job)
    return ComparedJob(
        id=job.id,
        name=job.name,
        type=job.type.value,
        state=job.state.value,
        dataset_id=job.dataset_id,
        model_id=job.model_id,
        valid_loss=loss,
        accuracy=accuracy,
        seeds=_seeds(services, job, owner),
    )


def _metrics(job: Job) -> tuple[float | None, float | None]:
    """Loss and accuracy: of the ledger, which is of the kept model, or of the last epoch."""
    ledgers: Mapping[str, _Values] = (job.result or {}).get("samples") or {}
    found: _Values = next(iter(ledgers.values()), {})
    loss = found.get("mean_loss", job.latest.get("valid_loss"))
    return loss, found.get("accuracy", job.latest.get("accuracy"))


def _seeds(services: Services, job: Job, owner: str | None) -> Seeds | None:
    if job.type != JobType.FINE_TUNE or job.state != JobState.SUCCEEDED:
        return None
    chosen = JobFilter(type=job.type, state=job.state, dataset_id=job.dataset_id, owner=owner)
    known = store.list_jobs(services.database, chosen, after=None, limit=MOST_SEEDS)
    alike = [other for other in known if _without_seed(other) == _without_seed(job)]
    if len({other.spec["seed"] for other in alike}) < 2:
        return None
    metrics = [_metrics(other) for other in alike]
    return Seeds(
        job_ids=[other.id for other in alike],
        valid_loss=_spread([loss for loss, _ in metrics]),
        accuracy=_spread([accuracy for _, accuracy in metrics]),
    )


def _without_seed(job: Job) -> _Values:
    return {name: value for name, value in job.spec.items() if name not in {"seed", *_FOR_PEOPLE}}


def _spread(values: Sequence[float | None]) -> Spread:
    known = [value for value in values if value is not None and isfinite(value)]
    return Spread(
        count=len(known),
        mean=statistics.mean(known) if known else None,
        std=statistics.stdev(known) if len(known) > 1 else None,
    )


# --- what differs ---------------------------------------------------------------------------


def asked_otherwise(jobs: Sequence[Job]) -> list[Difference]:
    """The fields of the requests that are not the same in all jobs."""
    asked = [{name: job.spec[name] for name in job.spec if name not in _FOR_PEOPLE} for job in jobs]
    return _differences([dict(_leaves("", each)) for each in asked])


def used_otherwise(jobs: Sequence[Job]) -> list[Difference]:
    """The resolved values that are not the same in all jobs, by name."""
    return _differences(
        [{name: entry.get("value") for name, entry in job.resolved.items()} for job in jobs]
    )


def _leaves(pointer: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  (any JSON)
    """Each value that is no object, by its JSON Pointer (RFC 6901)."""
    if not isinstance(value, dict) or not value:
        yield pointer, value
        return
    for name, member in value.items():
        escaped = name.replace("~", "~0").replace("/", "~1")
        yield from _leaves(f"{pointer}/{escaped}", member)


def _differences(values: Sequence[_Values]) -> list[Difference]:
    names = dict.fromkeys(name for each in values for name in each)
    found = {name: [each.get(name) for each in values] for name in names}
    return [
        Difference(pointer=name, values=of_all)
        for name, of_all in found.items()
        if any(value != of_all[0] for value in of_all[1:])
    ]


# --- curves ---------------------------------------------------------------------------------


def aligned_curves(services: Services, jobs: Sequence[Job], max_points: int) -> AlignedCurves:
    """The jobs' curves on common axes, with about ``max_points`` steps at most."""
    return AlignedCurves(
        epochs=_aligned_epochs([curves.read_epochs(services.database, job.id) for job in jobs]),
        steps=_aligned_steps(services, jobs, max_points),
    )


def _aligned_epochs(of_jobs: Sequence[Sequence[EpochRow]]) -> AlignedEpochs:
    by_epoch = [{row.epoch: row for row in rows} for rows in of_jobs]
    epochs = sorted({epoch for rows in by_epoch for epoch in rows})

    def column(name: str) -> list[list[float | None]]:
        return [[getattr(rows.get(epoch), name, None) for epoch in epochs] for rows in by_epoch]

    return AlignedEpochs(
        epoch=epochs,
        train_loss=column("train_loss"),
        valid_loss=column("valid_loss"),
        accuracy=column("accuracy"),
    )


def _aligned_steps(services: Services, jobs: Sequence[Job], max_points: int) -> AlignedSteps:
    # one spacing for all, so that steps which are shown of one job are shown of the others
    longest = max(curves.count_points(services.database, job.id) for job in jobs)
    every = spacing(longest, max_points)
    smoothed = [
        {
            point.global_step: point.smoothed
            for point in curves.read_points(services.database, job.id, every=every)
        }
        for job in jobs
    ]
    steps = sorted({step for losses in smoothed for step in losses})
    return AlignedSteps(
        step=steps, smoothed=[[losses.get(step) for step in steps] for losses in smoothed]
    )
