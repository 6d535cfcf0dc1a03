"""The steps of a planned training and the rates at which it takes them, as the job will."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.planning.premises import Premises
from api.schemas.plans import PlannedPhase, PlannedSchedule
from jobs.hyperparameters import (
    LearningRateFromJob,
    LearningRatePerGroup,
    LearningRateRange,
    LrMult,
)
from jobs.spec import FineTuneSpec, LrFindSpec
from ml.theory import layer_rates
from ml.theory.layer_rates import Peaks
from ml.theory.schedules import (
    SWEEP_MOMENTUM,
    CycleShape,
    FineTunePlan,
    exponential_sweep,
    fine_tune_shapes,
)

LR_FIND, FINE_TUNE = "lr_find", "fine_tune"
_UNKNOWN_RATE = 1.0


@dataclass(frozen=True, slots=True)
class Course:
    """The phases in the order in which they run, and the rates of each."""

    phases: list[PlannedPhase]
    schedule: list[PlannedSchedule]


def peaks_of(premises: Premises) -> Peaks | None:
    """The highest rate of every layer group in both phases; None while another job seeks it."""
    spec = premises.spec
    if not isinstance(spec, FineTuneSpec):
        return None
    asked = spec.learning_rate
    rate: layer_rates.LearningRate
    if isinstance(asked, LearningRateRange):
        rate = layer_rates.LowestHighest(asked.lowest, asked.highest)
    elif isinstance(asked, LearningRatePerGroup):
        rate = layer_rates.PerGroup(tuple(asked.per_group))
    elif isinstance(asked, LearningRateFromJob | str):
        if premises.rate is None:
            return None
        rate = premises.rate
    else:
        rate = asked
    spread = spec.discriminative
    return layer_rates.resolve_peaks(
        rate,
        num_groups=premises.architecture.layer_groups,
        discriminative=layer_rates.LrMult(spread.lr_mult) if isinstance(spread, LrMult) else spread,
    )


def course_of(premises: Premises, max_points: int) -> Course:
    """All steps that the plan consists of, those of a learning-rate find of its own included."""
    spec = premises.spec
    course = Course([], [])
    find = spec if isinstance(spec, LrFindSpec) else premises.child
    if find is not None:
        _add_sweep(course, find, premises, max_points)
    if isinstance(spec, FineTuneSpec):
        _add_cycles(course, spec, premises, max_points)
    return course


def evenly(count: int, most: int, keep: int) -> list[int]:
    """At most so many of the numbers below ``count``: first, last, ``keep``, others between."""
    if count <= most:
        return list(range(count))
    spread = {round(place * (count - 1) / (most - 2)) for place in range(most - 1)}
    return sorted(spread | {keep})


def _add_sweep(course: Course, find: LrFindSpec, premises: Premises, max_points: int) -> None:
    rates = exponential_sweep(find.start_lr, find.end_lr, find.num_steps)
    shown = evenly(len(rates), max_points, len(rates) - 1)
    course.phases.append(
        PlannedPhase(
            name="sweeping",
            job=LR_FIND,
            epochs=None,
            steps_per_epoch=premises.steps_per_epoch,
            steps=find.num_steps,
        )
    )
    groups = premises.architecture.layer_groups
    course.schedule.append(
        PlannedSchedule(
            name="sweeping",
            steps=shown,
            lr=[[rates[step]] * groups for step in shown],
            momentum=[SWEEP_MOMENTUM] * len(shown),
        )
    )


def _add_cycles(course: Course, spec: FineTuneSpec, premises: Premises, max_points: int) -> None:
    peaks, per_epoch = peaks_of(premises), premises.steps_per_epoch
    unknown = (_UNKNOWN_RATE,) * premises.architecture.layer_groups
    plan = FineTunePlan(
        epochs=spec.epochs,
        freeze_epochs=spec.freeze_epochs,
        steps_per_epoch=per_epoch or 0,
        frozen_peaks=peaks.frozen if peaks else unknown,
        unfrozen_peaks=peaks.unfrozen if peaks else unknown,
        pct_start=spec.schedule.pct_start,
        div=spec.schedule.div,
    )
    names, epochs = ("frozen", "unfrozen"), (spec.freeze_epochs, spec.epochs)
    for name, count, shape in zip(names, epochs, fine_tune_shapes(plan), strict=True):
        if count == 0:
            continue
        course.phases.append(
            PlannedPhase(
                name=name,
                job=FINE_TUNE,
                epochs=count,
                steps_per_epoch=per_epoch,
                steps=None if per_epoch is None else shape.num_steps,
            )
        )
        course.schedule.append(_cycle(name, shape, max_points, is_known=peaks is not None))


def _cycle(name: str, shape: CycleShape, max_points: int, *, is_known: bool) -> PlannedSchedule:
    shown: Sequence[int] = evenly(shape.num_steps, max_points, shape.highest_step)
    cycle = shape.at(shown)
    return PlannedSchedule(
        name=name,
        steps=list(shown),
        lr=[list(rates) for rates in cycle.lr] if is_known else None,
        momentum=list(cycle.momentum),
    )
