"""Sweeps the learning rate and suggests rates."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from jobs.spec import LrFindSpec
from ml.lr_range import LrRangeResult, SweptCurve, find_lr
from ml.theory import architectures
from ml.theory.lr_recommendation import Recommendation
from ml.theory.lr_suggestions import LrAnalysis, Suggestion, analyse
from ml.theory.lr_sweeps import PlannedSweep, combine, planned_sweeps
from worker.context import Context, Ending
from worker.findings import found_model
from worker.halving import halved_if_too_large, pieces_of, pieces_values
from worker.listener import Course, JobListener, finite
from worker.resolved import environment_values, weights_values
from worker.runners.pixels import photos_named, pixels_to_train
from worker.runners.training import (
    prepare_device,
    read_material,
    take_place,
    tell_precision,
)
from worker.translate import Surroundings, lr_range_config


def run(context: Context) -> Ending:
    """The curve and every rule's suggestion are the job's result.

    Raises:
        MlError: the run could not be made, or was broken off.
    """
    spec = LrFindSpec.model_validate(context.job.spec)
    place = take_place(context)
    device = prepare_device(context, place)
    material = read_material(context)
    around = Surroundings(
        num_classes=len(material.classes),
        settings=context.settings,
        model=found_model(context, spec, material.classes),
    )
    config = lr_range_config(spec, around)
    listener = JobListener(context)
    tell_precision(spec.precision, device, listener)
    train = material.part("train")
    listener.phase("presizing")
    with (
        photos_named([train]),
        closing(
            pixels_to_train(context, train, spec, listener=listener, ranks=place.ranks)
        ) as pixels,
    ):
        listener.follow(Course(epochs=1, steps=spec.num_steps * len(_planned(spec))))
        with halved_if_too_large(context, spec, len(train.photos)):
            found = find_lr(
                config,
                train.photos,
                pixels,
                listener=listener,
                device=device,
                pieces=pieces_of(context.job),
                ranks=place.ranks,
            )
    listener.finish()
    used = environment_values(found.resolved, batch_size=spec.batch_size, precision=spec.precision)
    used |= weights_values(around.model)
    used |= pieces_values(spec, len(train.photos), pieces_of(context.job))
    return Ending(values={"resolved": used, "result": {"lr_curve": _curve(spec, found)}})


def _planned(spec: LrFindSpec) -> tuple[PlannedSweep, ...]:
    groups = architectures.get(spec.architecture).layer_groups
    return planned_sweeps(spec.sweep, seed=spec.seed, repeats=spec.repeats, layer_groups=groups)


def _curve(spec: LrFindSpec, found: LrRangeResult) -> dict[str, Any]:
    """The first curve whole, and what all sweeps say; with ``each`` the head's, and all groups'."""
    groups = architectures.get(spec.architecture).layer_groups
    by_group: dict[int, list[_Read]] = {}
    for swept in found.sweeps:
        group = groups - 1 if swept.planned.group is None else swept.planned.group
        analysis = analyse(
            swept.lrs,
            swept.losses,
            smoothed=swept.smoothed,
            num_steps=spec.num_steps,
            of_body=group < groups - 1,
        )
        by_group.setdefault(group, []).append(_Read(swept, analysis))
    shown = by_group[groups - 1]
    swept = shown[0].swept
    return {
        "lrs": list(swept.lrs),
        "losses": [finite(loss) for loss in swept.losses],
        "smoothed": [finite(loss) for loss in swept.smoothed],
        "zero_lag": list(shown[0].analysis.zero_lag),
        "stopped": swept.stopped,
        "diverged_at_step": swept.diverged_at_step,
        **_told(shown),
        "groups": _groups(by_group, groups) if spec.sweep == "each" else None,
    }


@dataclass(frozen=True, slots=True)
class _Read:
    """A sweep and what its curve says."""

    swept: SweptCurve
    analysis: LrAnalysis

    def as_repeat(self) -> dict[str, Any]:
        return {
            "seed": self.swept.planned.seed,
            "stopped": self.swept.stopped,
            "diverged_at_step": self.swept.diverged_at_step,
            **self.answers(),
            "recommended": _plain(self.analysis.recommended),
        }

    def answers(self) -> dict[str, Any]:
        return {
            "suggestions": {
                rule: _plain(suggestion) for rule, suggestion in self.analysis.suggestions.items()
            },
            "warnings": [asdict(warning) for warning in self.analysis.warnings],
        }


def _told(repeats: Sequence[_Read]) -> dict[str, Any]:
    """What the first sweep's rules say, what all recommend together, and each by itself."""
    combined = combine([read.analysis.recommended for read in repeats])
    return {
        **repeats[0].answers(),
        "recommended": _plain(combined.recommended),
        "spread": combined.spread,
        "repeats": [read.as_repeat() for read in repeats],
    }


def _groups(by_group: Mapping[int, Sequence[_Read]], groups: int) -> list[dict[str, Any]]:
    """One entry for each layer group that was swept, the first layers' first."""
    return [
        {
            "index": group,
            "name": "head" if group == groups - 1 else f"body_{group}",
            **_told(by_group[group]),
        }
        for group in sorted(by_group)
    ]


def _plain(answer: Recommendation | Suggestion | None) -> dict[str, Any] | None:
    return None if answer is None else asdict(answer)
