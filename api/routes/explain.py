"""Each technique by itself: stateless, answered at once by the functions that jobs use."""

from math import nan
from typing import Annotated

from fastapi import APIRouter, Body

from api.json_body import StrictRoute
from api.problems import at, problem_responses
from api.schemas.explain import (
    MAX_STEPS,
    CrossEntropyExplanation,
    CrossEntropyRequest,
    LabelsExplanation,
    LabelsRequest,
    LrSuggestions,
    LrSuggestionsRequest,
    PeerRates,
    ScheduleExplanation,
    ScheduleRequest,
)
from jobs.dataset_spec import RegexLabels
from jobs.hyperparameters import LayerDecay, LearningRatePerGroup, LearningRateRange, LrMult
from ml.theory import layer_rates, lr_peers, lr_suggestions, schedules
from ml.theory.cross_entropy_explained import explain
from ml.theory.errors import InvalidRegexError, NoGroupError
from ml.theory.label_report import explain_labels

router = APIRouter(prefix="/v1/explain", tags=["Explain"], route_class=StrictRoute)

_PROBLEMS = problem_responses("malformed_json", "unsupported_media_type", "validation_failed")

_CROSS_ENTROPY_EXAMPLE = {
    "activations": [[2.0, 0.0], [0.5, 1.5], [-1.0, 1.0]],
    "targets": [0, 1, 0],
    "class_names": ["cat", "dog"],
}
_SWEEP = schedules.exponential_sweep(1e-7, 10.0, 100)
_LR_EXAMPLE = {
    "lrs": [round(lr, 12) for lr in _SWEEP],
    "losses": [round(4.0 - 3.2 / (1 + 0.002 / lr) + lr**2, 4) for lr in _SWEEP],
    "compare_peers": True,
}
_LABELS_EXAMPLE = {
    "labels": {"rule": "regex", "pattern": "^(.+)_\\d+\\.jpg$"},
    "names": ["great_pyrenees_173.jpg", "pug_100.jpg", "pug_101.png"],
}
_SCHEDULE_EXAMPLE = {
    "epochs": 2,
    "freeze_epochs": 1,
    "steps_per_epoch": 4,
    "learning_rate": 0.002,
    "discriminative": {"lr_mult": 100},
}


@router.post(
    "/cross-entropy",
    operation_id="explainCrossEntropy",
    summary="Explain a cross-entropy loss",
    responses=_PROBLEMS,
)
def explain_cross_entropy(
    asked: Annotated[CrossEntropyRequest, Body(examples=[_CROSS_ENTROPY_EXAMPLE])],
) -> CrossEntropyExplanation:
    """Softmax, loss and gradient of every sample, the mean, and the reasoning in plain words."""
    explained = explain(
        asked.activations,
        asked.targets,
        class_names=asked.class_names,
        class_weights=asked.class_weights,
        label_smoothing=asked.label_smoothing,
        ignore_index=asked.ignore_index,
    )
    return CrossEntropyExplanation.model_validate(explained, from_attributes=True)


@router.post(
    "/lr-suggestions",
    operation_id="explainLrSuggestions",
    summary="Read a learning rate from a curve",
    responses=_PROBLEMS,
)
def explain_lr_suggestions(
    asked: Annotated[LrSuggestionsRequest, Body(examples=[_LR_EXAMPLE])],
) -> LrSuggestions:
    """What every rule reads from a recorded range test, and the rate to use.

    With `compare_peers` also what two other finders would say. Lightning's answer is shown so that
    nobody trusts it: it differentiates by the rate, not by its logarithm.
    """
    losses = [nan if loss is None else loss for loss in asked.losses]
    analysis = lr_suggestions.analyse(asked.lrs, losses, num_steps=asked.num_steps, trim=asked.trim)
    answer = LrSuggestions.model_validate(analysis, from_attributes=True)
    if asked.compare_peers:
        peers = lr_peers.compare(asked.lrs, losses)
        shown = PeerRates.model_validate(peers, from_attributes=True)
        return answer.model_copy(update={"peers": shown})
    return answer


@router.post(
    "/labels",
    operation_id="explainLabels",
    summary="Try a label rule",
    responses=problem_responses(
        "malformed_json",
        "unsupported_media_type",
        "validation_failed",
        "invalid_regex",
        "regex_no_group",
    ),
)
def explain_label_rule(
    asked: Annotated[LabelsRequest, Body(examples=[_LABELS_EXAMPLE])],
) -> LabelsExplanation:
    """The label of each name, the classes with counts, near-duplicates, and a hint for the rest."""
    labels = asked.labels
    try:
        if isinstance(labels, RegexLabels):
            report = explain_labels(
                asked.names, pattern=labels.pattern, on=labels.on, group=labels.group
            )
        else:
            report = explain_labels(asked.names, rule=labels.rule)
    except InvalidRegexError as wrong:
        raise at("/labels/pattern", "invalid_regex", str(wrong)) from wrong
    except NoGroupError as wrong:
        raise at("/labels/pattern", "regex_no_group", str(wrong)) from wrong
    return LabelsExplanation.model_validate(report, from_attributes=True)


@router.post(
    "/schedule",
    operation_id="explainSchedule",
    summary="See a fine-tune's rates",
    responses=_PROBLEMS,
)
def explain_schedule(
    asked: Annotated[ScheduleRequest, Body(examples=[_SCHEDULE_EXAMPLE])],
) -> ScheduleExplanation:
    """Rate of every layer group and momentum at every step, exactly as a fine-tune uses them."""
    steps = (asked.epochs + asked.freeze_epochs) * asked.steps_per_epoch
    if steps > MAX_STEPS:
        raise at(
            "/steps_per_epoch",
            "validation_failed",
            f"{steps} steps are too many for one answer; ask for at most {MAX_STEPS}",
        )
    peaks = layer_rates.resolve_peaks(
        _learning_rate(asked),
        num_groups=asked.num_layer_groups,
        discriminative=_discriminative(asked),
    )
    plan = schedules.FineTunePlan(
        epochs=asked.epochs,
        freeze_epochs=asked.freeze_epochs,
        steps_per_epoch=asked.steps_per_epoch,
        frozen_peaks=peaks.frozen,
        unfrozen_peaks=peaks.unfrozen,
        pct_start=asked.schedule.pct_start,
        div=asked.schedule.div,
    )
    phases = schedules.fine_tune_phases(plan)
    return ScheduleExplanation.model_validate({"phases": phases}, from_attributes=True)


def _learning_rate(asked: ScheduleRequest) -> layer_rates.LearningRate:
    rate = asked.learning_rate
    if isinstance(rate, LearningRateRange):
        return layer_rates.LowestHighest(rate.lowest, rate.highest)
    if isinstance(rate, LearningRatePerGroup):
        return layer_rates.PerGroup(tuple(rate.per_group))
    return rate


def _discriminative(asked: ScheduleRequest) -> layer_rates.Discriminative | None:
    spread = asked.discriminative
    if isinstance(spread, LrMult):
        return layer_rates.LrMult(spread.lr_mult)
    if isinstance(spread, LayerDecay):
        return layer_rates.LayerDecay(spread.layer_decay)
    return spread
