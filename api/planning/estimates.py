"""From a probe's measurements to the seconds and bytes of a whole training."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt
from typing import Any

from api.schemas.plans import EstimatedMemory, EstimatedPart, PlannedPhase

LOW, HIGH = 0.8, 1.3
"""How far off a training may be on a machine that is as busy as it was for the probe."""
_EARLIEST_END = 0.5
"""Share of its steps after which a sweep may have diverged already."""
_CLAIM_S = 0.1
"""From the claim to the trainer's first line, and from its last one to the job's end."""
_EPOCH_END_S = 0.02
"""Writing an epoch's figures and losses."""
_ENDING_S = 0.1
"""Writing ledger and result; the model takes about as long as a checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What the jobs of a plan do beside their steps."""

    phases: list[PlannedPhase]
    swept_phase: str
    """The phase whose steps cost what those of a sweep do."""
    to_presize: int
    """Photos."""
    to_evaluate: int
    """Photos in one evaluation."""
    batch_size: int
    checkpoint_every_s: float
    accumulate: int = 1
    """Batches in one step of the fine-tune; the probe has measured steps of one."""
    longest_s: float = inf
    """Time after which a fine-tune ends early."""
    fewest_epochs: int | None = None
    """Unfrozen epochs after which it may stop early; None when it does not."""
    sweeps: int = 1
    """Sweeps of the learning-rate find, each with a model of its own; 1 without a find too."""

    @property
    def jobs(self) -> int:
        """How many jobs there are, one after the other."""
        return len({phase.job for phase in self.phases})

    @property
    def epochs(self) -> int:
        """Epochs of the fine-tune."""
        return sum(phase.epochs or 0 for phase in self.phases)


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds in all, with the range that they are likely to lie in, and of each part."""

    seconds: float
    low: float
    high: float
    parts: list[EstimatedPart]


def duration_of(work: Workload, probe: Mapping[str, Any]) -> Duration:
    """How long the workload takes at the measured pace.

    An evaluation follows each epoch. Checkpoints are written again and again while a fine-tune
    trains.
    """
    parts = [_start(work, probe), _presizing(work, probe)]
    parts += [_steps(work, phase, probe) for phase in work.phases]
    if work.epochs:
        parts.append(_evaluation(work, probe))
        trained_s = sum(part.seconds for part in parts if part.name in _SAVED_DURING)
        saved = int(trained_s / work.checkpoint_every_s)
        saving_s = probe["checkpoint_s"] or 0.0
        parts.append(_part("checkpoints", saved * saving_s, saved))
        ending_s = _ENDING_S + saving_s + work.epochs * _EPOCH_END_S
        parts.append(_part("ending", ending_s, work.epochs))
    parts = _cut_short(work, parts)
    seconds = sum(part.seconds for part in parts)
    quick_s, slow_s = _spread(work, probe)
    return Duration(
        seconds=round(seconds, 1),
        low=round(LOW * (seconds - quick_s), 1),
        high=round(HIGH * (seconds + slow_s), 1),
        parts=[part for part in parts if part.count],
    )


def memory_of(probe: Mapping[str, Any], photos: int) -> EstimatedMemory | None:
    """The high-water mark, and the presized pixels of so many photos beside it."""
    found = probe["memory"]
    if found is None:
        return None
    return EstimatedMemory(**found, page_cache_bytes=photos * probe["photo_bytes"])


_SAVED_DURING = frozenset({"frozen", "unfrozen", "evaluation"})


def _cut_short(work: Workload, parts: list[EstimatedPart]) -> list[EstimatedPart]:
    """The parts, those of the training less where its time is over before its end."""
    trained_s = sum(part.seconds for part in parts if part.name in _SAVED_DURING)
    if trained_s <= work.longest_s:
        return parts
    share = work.longest_s / trained_s
    return [
        _part(part.name, share * part.seconds, max(1, round(share * part.count)))
        if part.name in _SAVED_DURING
        else part
        for part in parts
    ]


def _spread(work: Workload, probe: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds that the steps may take less or more, as unevenly as they were measured."""
    quick_s = slow_s = 0.0
    for phase in work.phases:
        pace = probe["steps"][_measured_as(work, phase)]
        steps, each_s = _batches(work, phase), pace["each_s"]
        quick_s += steps * (each_s - pace["fastest_s"])
        slow_s += steps * (pace["slowest_s"] - each_s) / sqrt(pace["count"])
        if phase.name == "sweeping":
            quick_s += (1 - _EARLIEST_END) * steps * pace["fastest_s"]
        if phase.name == "unfrozen" and phase.epochs and work.fewest_epochs is not None:
            left_out = max(0, phase.epochs - work.fewest_epochs) / phase.epochs
            quick_s += left_out * steps * pace["fastest_s"]
    return quick_s, slow_s


def _measured_as(work: Workload, phase: PlannedPhase) -> str:
    return work.swept_phase if phase.name == "sweeping" else phase.name


def _part(name: str, seconds: float, count: int) -> EstimatedPart:
    return EstimatedPart(name=name, seconds=round(seconds, 3), count=count)


def _start(work: Workload, probe: Mapping[str, Any]) -> EstimatedPart:
    """From the claim to the first step; the models of later sweeps are counted here as well."""
    each_s = _CLAIM_S + probe["start_s"] + probe["build_s"]
    later_s = (work.sweeps - 1) * probe["build_s"]
    return _part("start", work.jobs * each_s + later_s, work.jobs)


def _presizing(work: Workload, probe: Mapping[str, Any]) -> EstimatedPart:
    return _part("presizing", work.to_presize * probe["presize_photo_s"], work.to_presize)


def _steps(work: Workload, phase: PlannedPhase, probe: Mapping[str, Any]) -> EstimatedPart:
    pace = probe["steps"][_measured_as(work, phase)]
    warming_s = max(0.0, pace["first_s"] - pace["each_s"])
    trained_s = _batches(work, phase) * pace["each_s"]
    return _part(phase.name, warming_s + trained_s, phase.steps or 0)


def _batches(work: Workload, phase: PlannedPhase) -> int:
    return (phase.steps or 0) * (1 if phase.name == "sweeping" else work.accumulate)


def _evaluation(work: Workload, probe: Mapping[str, Any]) -> EstimatedPart:
    photos = work.to_evaluate * work.epochs
    if not photos:
        return _part("evaluation", 0.0, 0)
    pace = probe["evaluation"]
    warming_s = max(0.0, pace["first_s"] - pace["each_s"])
    return _part("evaluation", warming_s + photos * pace["each_s"] / work.batch_size, photos)
