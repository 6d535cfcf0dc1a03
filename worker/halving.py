"""When a batch does not fit into memory: the next attempt takes it through in twice the pieces.

A new attempt is a new process, which begins at the last checkpoint with all of the memory free.
Evaluations, which have no checkpoints, begin anew.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jobs import curves
from jobs.job import Job
from jobs.spec import EvaluationSpec, FineTuneSpec, LrFindSpec, PredictionSpec
from ml.errors import StoppedError, is_out_of_memory
from ml.theory import batch_counts
from worker.context import Context
from worker.failures import JobFailedError

OUT_OF_MEMORY = "out_of_memory"
_FEWEST_TRAINED = 2
"""Normalisation has no variance of one photo."""

Divisible = LrFindSpec | FineTuneSpec | EvaluationSpec | PredictionSpec
"""What is asked for in batches that may go through the network in pieces."""


def pieces_of(job: Job) -> int:
    """In how many pieces each batch of the job goes through; 1 until memory was too small."""
    return int(job.resolved.get("batch_size", {}).get("pieces", 1))


def photos_at_once(spec: Divisible, job: Job) -> int:
    """Most photos that the attempt takes through the network together."""
    return math.ceil(spec.batch_size / pieces_of(job))


def pieces_values(spec: Divisible, photos: int, pieces: int) -> dict[str, Any]:
    """What of it ``job.resolved`` shows: photos at once, and batches per step; else nothing.

    ``photos`` are those of the part that is trained on or evaluated.
    """
    if pieces == 1:
        return {}
    counts = _counts(spec, photos)
    at_once = math.ceil(counts.batch_size / pieces)
    values = {"batch_size": {"value": at_once, "origin": OUT_OF_MEMORY, "pieces": pieces}}
    if isinstance(spec, EvaluationSpec | PredictionSpec):
        return values
    together = {"value": counts.accumulate * pieces, "origin": OUT_OF_MEMORY}
    return {**values, "accumulate": together}


@contextmanager
def halved_if_too_large(context: Context, spec: Divisible, photos: int) -> Iterator[None]:
    """What runs out of memory inside is broken off, to be tried again with half the photos at once.

    Raises:
        StoppedError: the job is to go on in a new attempt.
        JobFailedError: not even the fewest photos fit.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as problem:
        if spec.on_out_of_memory == "fail" or not is_out_of_memory(problem):
            raise
        pieces, batch_size = 2 * pieces_of(context.job), _counts(spec, photos).batch_size
        fewest = 1 if isinstance(spec, EvaluationSpec | PredictionSpec) else _FEWEST_TRAINED
        fewest = max(fewest, spec.devices)
        context.control.take_the_word()
        if pieces > batch_size // fewest:
            raise _nothing_smaller(problem, math.ceil(2 * batch_size / pieces)) from problem
        values = pieces_values(spec, photos, pieces)
        context.tell(curves.record_resolved, values)
        context.tell(curves.record_warning, "batch_size_halved", _told(values, batch_size))
        raise StoppedError(context.job.type.value, OUT_OF_MEMORY) from problem


def _counts(spec: Divisible, photos: int) -> batch_counts.BatchCounts:
    accumulate = spec.accumulate if isinstance(spec, FineTuneSpec) else 1
    return batch_counts.fitting(photos, batch_size=spec.batch_size, accumulate=accumulate)


def _nothing_smaller(problem: Exception, at_once: int) -> JobFailedError:
    return JobFailedError(
        OUT_OF_MEMORY,
        f"not even {at_once} {'photo fits' if at_once == 1 else 'photos fit'} at once: {problem}"[
            :1000
        ],
        "lower size, or choose a smaller architecture",
    )


def _told(values: dict[str, Any], batch_size: int) -> str:
    told = (
        f"memory is too small for more: batches of {batch_size} go through in pieces of "
        f"{values['batch_size']['value']} photos"
    )
    return f"{told}; each step still learns from as many photos" if "accumulate" in values else told
