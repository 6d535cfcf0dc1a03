"""Loss curves and learning-rate curves, column by column."""

from typing import Literal

from pydantic import Field

from api.schemas.resource import JobIdExample, Resource, example


class StepColumns(Resource):
    """One entry for each step that is shown; all lists of one length."""

    step: list[int] = Field(description="from 0 over the whole job")
    epoch: list[int]
    phase: list[str]
    loss: list[float | None] = Field(description="null where it was not finite")
    smoothed: list[float | None]
    momentum: list[float]
    lr: list[list[float | None]] = Field(description="one list for each layer group, the head last")


class EpochColumns(Resource):
    """One entry for each epoch."""

    epoch: list[int]
    phase: list[str]
    step: list[int] = Field(description="steps taken when the epoch ended")
    train_loss: list[float | None]
    valid_loss: list[float | None]
    accuracy: list[float | None]
    error_rate: list[float | None]
    seconds: list[float]


class LossCurve(Resource):
    """How training went, up to now."""

    model_config = example(
        object="loss_curve",
        job_id=JobIdExample,
        count=2,
        is_thinned=False,
        steps={"step": [0, 1], "epoch": [0, 0], "phase": ["frozen", "frozen"],
               "loss": [4.2, 3.9], "smoothed": [4.2, 4.05], "momentum": [0.95, 0.94],
               "lr": [[8e-6, 9e-6], [8e-6, 9e-6], [8e-5, 9e-5]]},
        epochs={"epoch": [0], "phase": ["frozen"], "step": [2], "train_loss": [4.05],
                "valid_loss": [3.2], "accuracy": [0.31], "error_rate": [0.69], "seconds": [12.5]},
    )  # fmt: skip

    object: Literal["loss_curve"] = "loss_curve"
    job_id: str
    count: int = Field(description="steps taken, before thinning")
    is_thinned: bool = Field(description="whether steps were left out to stay below max_points")
    steps: StepColumns
    epochs: EpochColumns


class Marker(Resource):
    """The point of the curve that a rule looked at."""

    lr: float
    loss: float | None


class Suggestion(Resource):
    """The rate that one rule suggests."""

    lr: float
    marker: Marker | None = None
    step: int | None = Field(default=None, description="0-based, in the recorded list")


class CurveWarning(Resource):
    """Something to know about the curve or a rule."""

    code: str = Field(description="such as slide_unavailable, flat or at_edge_of_range")
    detail: str
    rule: str | None = Field(default=None, description="the rule that has no answer")
    reason: str | None = Field(default=None, description="why it has none, as a code")


class Recommendation(Resource):
    """The rate to use, half to double of it, and how far to trust it."""

    lr: float
    rule: str
    range: tuple[float, float]
    confidence: str
    reasons: list[str]


LR_CURVE_EXAMPLE = {
    "suggestions": {
        "minimum_over_10": {"lr": 0.0083, "marker": {"lr": 0.083, "loss": 0.91}, "step": 74},
        "slide": None,
    },
    "recommended": {
        "lr": 0.0019,
        "rule": "consensus",
        "range": [0.00095, 0.0038],
        "confidence": "medium",
        "reasons": ["rules_agree"],
    },
    "warnings": [
        {
            "code": "slide_unavailable",
            "detail": "10 usable points, 16 needed",
            "rule": "slide",
            "reason": "too_few_points",
        }
    ],
}


class SweptRates(Resource):
    """What one sweep's rules read from its curve."""

    suggestions: dict[str, Suggestion | None]
    recommended: Recommendation | None
    warnings: list[CurveWarning]


class RepeatedSweep(SweptRates):
    """One of the sweeps, with its own seed; all their steps are on the loss curve."""

    seed: int
    stopped: str = Field(description="diverged, completed, or finished: by a stop request")
    diverged_at_step: int | None = Field(description="0-based, in this sweep")


class GroupRates(SweptRates):
    """What was found for a layer group that was swept alone.

    `suggestions` and `warnings` are those of its first sweep, `recommended` is of all.
    """

    index: int = Field(description="from 0, the first layers'")
    name: str = Field(description="as in the architecture's layer_groups")
    spread: float | None = Field(description="highest over lowest rate of its sweeps")
    repeats: list[RepeatedSweep]


class LrCurve(Resource):
    """What a learning-rate find recorded and what every rule reads from it."""

    model_config = example(
        object="lr_curve",
        job_id=JobIdExample,
        lrs=[1e-7, 1.2e-7],
        losses=[4.1, 4.0],
        smoothed=[4.1, 4.05],
        zero_lag=[4.1, 4.04],
        stopped="diverged",
        diverged_at_step=93,
        **LR_CURVE_EXAMPLE,
        spread=1.0,
        repeats=[{"seed": 42, "stopped": "diverged", "diverged_at_step": 93, **LR_CURVE_EXAMPLE}],
        groups=None,
    )

    object: Literal["lr_curve"] = "lr_curve"
    job_id: str
    lrs: list[float]
    losses: list[float | None] = Field(description="raw; null where not finite")
    smoothed: list[float | None]
    zero_lag: list[float | None]
    stopped: str = Field(description="diverged, completed, or finished: by a stop request")
    diverged_at_step: int | None
    suggestions: dict[str, Suggestion | None]
    recommended: Recommendation | None
    warnings: list[CurveWarning]
    spread: float | None = Field(
        default=None, description="highest over lowest rate that the sweeps recommend"
    )
    repeats: list[RepeatedSweep] = Field(
        default=[], description="every sweep; its curve is shown of the first only"
    )
    groups: list[GroupRates] | None = Field(
        default=None, description='with "sweep": "each", the rates of every layer group'
    )
