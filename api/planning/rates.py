"""The steps of a planned training and the rates at which it takes them, as the job will."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.planning.premises import Premises
from api.schemas.plans import PlannedPhase, PlannedSchedule
from jobs.hyperparameters import (
    LayerDecay,
    LearningRateFromJob,
    LearningRatePerGroup,
    LearningRateRange,
    LrMult,
)
from jobs.spec import FineTuneSpec, LrFindSpec
from ml.theory import layer_rates
from ml.theory.layer_rates import Peaks
from ml.theory.lr_sweeps import PlannedSweep, planned_sweeps
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
    return layer_rates.resolve_peaks(
        rate, num_groups=num_rates(premises, spec), discriminative=_discriminative(spec)
    )


def num_rates(premises: Premises, spec: FineTuneSpec) -> int:
    """How many rates the fine-tune has at each step, the head's included."""
    per_block = isinstance(spec.discriminative, LayerDecay)
    return premises.architecture.num_rates(per_block=per_block)


def course_of(premises: Premises, max_points: int) -> Course:
    """All steps that the plan consists of, those of a learning-rate find of its own included."""
    spec = premises.spec
    course = Course([], [])
    find = spec if isinstance(spec, LrFindSpec) else premises.child
    if find is not None:
        _add_sweeps(course, find, premises, max_points)
    if isinstance(spec, FineTuneSpec):
        _add_cycles(course, spec, premises, max_points)
    return course


def evenly(count: int, most: int, keep: int) -> list[int]:
    """At most so many of the numbers below ``count``: first, last, ``keep``, others between."""
    if count <= most:
        return list(range(count))
    spread = {round(place * (count - 1) / (most - 2)) for place in range(most - 1)}
    return sorted(spread | {keep})


def _discriminative(spec: FineTuneSpec) -> layer_rates.Discriminative | None:
    spread = spec.discriminative
    if isinstance(spread, LrMult):
        return layer_rates.LrMult(spread.lr_mult)
    if isinstance(spread, LayerDecay):
        return layer_rates.LayerDecay(spread.layer_decay)
    return spread


def sweeps_of(find: LrFindSpec, premises: Premises) -> tuple[PlannedSweep, ...]:
    """The sweeps that the find consists of."""
    groups = premises.architecture.layer_groups
    return planned_sweeps(find.sweep, seed=find.seed, repeats=find.repeats, layer_groups=groups)


def _add_sweeps(course: Course, find: LrFindSpec, premises: Premises, max_points: int) -> None:
    rates = exponential_sweep(find.start_lr, find.end_lr, find.num_steps)
    sweeps, groups = sweeps_of(find, premises), premises.architecture.layer_groups
    total = len(sweeps) * len(rates)
    shown = evenly(total, max_points, total - 1)
    course.phases.append(
        PlannedPhase(
            name="sweeping",
            job=LR_FIND,
            epochs=None,
            steps_per_epoch=premises.batches_per_epoch,
            steps=total,
        )
    )
    places = [divmod(step, len(rates)) for step in shown]
    course.schedule.append(
        PlannedSchedule(
            name="sweeping",
            steps=shown,
            lr=[list(sweeps[sweep].rates(rates[step], groups)) for sweep, step in places],
            momentum=[SWEEP_MOMENTUM] * len(shown),
        )
    )


def _add_cycles(course: Course, spec: FineTuneSpec, premises: Premises, max_points: int) -> None:
    peaks, per_epoch = peaks_of(premises), premises.steps_per_epoch
    unknown = (_UNKNOWN_RATE,) * num_rates(premises, spec)
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
