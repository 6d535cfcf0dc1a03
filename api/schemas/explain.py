"""What the explain calls take and answer; the numbers are those that jobs use."""

from typing import Annotated, Literal

from pydantic import Field

from api.schemas.curves import LR_CURVE_EXAMPLE, CurveWarning, Recommendation, Suggestion
from api.schemas.datasets import ClassCount
from api.schemas.resource import Resource, example
from jobs.dataset_spec import NameLabels, Spec
from jobs.hyperparameters import (
    LayerDecay,
    LearningRate,
    LearningRatePerGroup,
    LearningRateRange,
    LrMult,
    Schedule,
)

MAX_POINTS = 10_000
MAX_NAMES = 100_000
MAX_STEPS = 100_000

Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=4096)]
ClassIndex = Annotated[int, Field(ge=-(2**31), lt=2**31)]


class CrossEntropyRequest(Spec):
    """Activations of a model's last layer with the right classes."""

    activations: Annotated[
        list[Annotated[list[Finite], Field(min_length=1, max_length=MAX_POINTS)]],
        Field(min_length=1, max_length=MAX_POINTS),
    ] = Field(description="one row for each sample, one column for each class")
    targets: Annotated[list[ClassIndex], Field(max_length=MAX_POINTS)] = Field(
        description="index of each sample's class"
    )
    class_names: list[Name] | None = Field(default=None, description="one for each column")
    label_smoothing: float = Field(
        default=0.0, ge=0, le=1, description="share of the target given to all classes alike"
    )
    class_weights: list[Finite] | None = Field(default=None, description="one for each class")
    ignore_index: ClassIndex | None = Field(
        default=None, description="target of samples to leave out"
    )


class ExplainedSample(Resource):
    """Every number on the way from one row of activations to its loss."""

    index: int
    target: int
    target_name: str | None
    activations: list[float | None]
    softmax: list[float | None]
    sigmoid_of_difference: float | None = Field(description="sigmoid(a0 - a1), two classes only")
    p_target: float | None
    nll_of_softmax: float | None = Field(
        description="-p_target: what nll_loss gives on probabilities, which is not the loss"
    )
    cross_entropy: float | None = Field(description="-ln p_target, with smoothing and weights")
    plain_cross_entropy: float | None = Field(description="without smoothing and weights")
    weight: float
    gradient: list[float | None] = Field(description="by the activations: softmax - one-hot")
    predicted: int
    predicted_name: str | None
    correct: bool
    note: str | None = Field(description="ignored, infinite_loss or not_a_number")


class CrossEntropyExplanation(Resource):
    """A batch explained."""

    model_config = example(
        samples=[
            {"index": 0, "target": 0, "target_name": None, "activations": [2.0, 0.0],
             "softmax": [0.8808, 0.1192], "sigmoid_of_difference": 0.8808, "p_target": 0.8808,
             "nll_of_softmax": -0.8808, "cross_entropy": 0.1269, "plain_cross_entropy": 0.1269,
             "weight": 1.0, "gradient": [-0.1192, 0.1192], "predicted": 0,
             "predicted_name": None, "correct": True, "note": None}
        ],
        mean=0.1269,
        chance_level=0.6931,
        derivation=["Softmax: exp of each activation over the sum of all. …"],
    )  # fmt: skip

    samples: list[ExplainedSample]
    mean: float | None
    chance_level: float = Field(description="loss of a guess of equal probabilities, ln C")
    derivation: list[str] = Field(description="each step in plain words with these numbers")


class LrSuggestionsRequest(Spec):
    """A recorded learning-rate range test."""

    lrs: Annotated[list[Finite], Field(min_length=1, max_length=MAX_POINTS)] = Field(
        description="rate of each recorded step, ascending"
    )
    losses: Annotated[list[Finite | None], Field(min_length=1, max_length=MAX_POINTS)] = Field(
        description="already smoothed; null is a loss that was not finite"
    )
    num_steps: int = Field(default=100, ge=1, le=MAX_POINTS, description="steps that were planned")
    trim: Literal["fastai", "none"] = Field(
        default="fastai",
        description="fastai drops the first num_steps // 10 and the last 5 points; the two "
        "zero-lag rules the last num_steps // 20",
    )
    compare_peers: bool = Field(
        default=False, description="show beside it what torch-lr-finder and Lightning would say"
    )


class PeerRates(Resource):
    """What other finders read from the same curve; nothing here is recommended.

    Never train with Lightning's: it looks for the steepest fall by the rate itself instead of by
    its logarithm, and so finds it nearly always among the lowest rates.
    """

    torch_lr_finder: Suggestion | None = Field(
        description="torch-lr-finder 0.2.2: steepest fall by step, the first 10 and last 5 left out"
    )
    lightning: Suggestion | None = Field(
        description="Lightning 2.6.6: steepest fall by the rate itself, which favours the lowest"
    )
    warnings: list[CurveWarning] = Field(
        description="torch_lr_finder_unavailable and lightning_unavailable with the reason"
        " too_few_points or no_finite_loss; torch_lr_finder_at_nan where its rate is only the one"
        " at which the loss stops being finite"
    )


class LrSuggestions(Resource):
    """What every rule reads from the curve."""

    model_config = example(
        **LR_CURVE_EXAMPLE,
        zero_lag=[4.1, 4.04],
        peers={
            "torch_lr_finder": {"lr": 0.0021, "marker": {"lr": 0.0021, "loss": 1.9}, "step": 54},
            "lightning": {"lr": 6.3e-07, "marker": {"lr": 6.3e-07, "loss": 4.04}, "step": 10},
            "warnings": [],
        },
    )

    suggestions: dict[str, Suggestion | None]
    recommended: Recommendation | None
    warnings: list[CurveWarning]
    zero_lag: list[float | None] = Field(description="the losses without the lag of an average")
    peers: PeerRates | None = Field(default=None, description="with compare_peers only")


class LabelsRequest(Spec):
    """A label rule and names to try it on."""

    labels: NameLabels
    names: Annotated[list[Name], Field(min_length=1, max_length=MAX_NAMES)] = Field(
        description="file names, or paths below the source with /"
    )


class LabelledName(Resource):
    """What one name is labelled, or why it is not."""

    name: str
    label: str | None
    reason: str | None = Field(
        description="no_match, empty_label, name_not_utf8, no_parent_folder or no_row"
    )


class NearDuplicate(Resource):
    """Labels that differ in case, separators or a single letter."""

    labels: list[str]
    kind: str = Field(description="spelling or one_edit")


class LabelsHint(Resource):
    """A rule that labels more of the names and no labelled one differently."""

    message: str
    rule: str
    pattern: str | None
    on: str | None
    group: int | str | None
    fixes: int = Field(description="names that it labels and the present rule does not")
    remaining: int = Field(description="names that still have no label")


class LabelsExplanation(Resource):
    """What the rule does to the names."""

    model_config = example(
        items=[{"name": "great_pyrenees_173.jpg", "label": "great_pyrenees", "reason": None}],
        classes=[{"label": "great_pyrenees", "count": 1}],
        matched=1,
        unmatched=0,
        near_duplicates=[],
        hint=None,
    )

    items: list[LabelledName]
    classes: list[ClassCount] = Field(description="in the order of their class index")
    matched: int
    unmatched: int
    near_duplicates: list[NearDuplicate] = Field(description="labels that may be one class")
    hint: LabelsHint | None = Field(description="a rule that was tried and labels more names")


class ScheduleRequest(Spec):
    """The settings of a fine-tune that decide its rates."""

    epochs: int = Field(default=3, ge=0, le=1000, description="epochs with everything unfrozen")
    freeze_epochs: int = Field(
        default=1, ge=0, le=1000, description="epochs before that with the body frozen"
    )
    steps_per_epoch: int = Field(ge=1, le=MAX_STEPS, description="batches in one epoch")
    learning_rate: LearningRate | LearningRateRange | LearningRatePerGroup = Field(
        default=2e-3, description="base rate, or the unfrozen peaks"
    )
    discriminative: LrMult | LayerDecay | Literal["off"] | None = Field(
        default=None, description='absent: {"lr_mult": 100}'
    )
    schedule: Schedule = Schedule()
    num_layer_groups: int = Field(default=3, ge=1, le=128, description="with the head")


class SchedulePhase(Resource):
    """One phase of a fine-tune, step by step."""

    name: str = Field(description="frozen or unfrozen")
    epochs: int
    lr: list[list[float]] = Field(description="for each step the rate of each layer group")
    momentum: list[float]


class ScheduleExplanation(Resource):
    """Rates and momenta exactly as a fine-tune uses them."""

    model_config = example(
        phases=[
            {"name": "frozen", "epochs": 1, "lr": [[8e-06, 8e-06, 8e-05]], "momentum": [0.95]},
            {"name": "unfrozen", "epochs": 1, "lr": [[2e-06, 2e-05, 2e-04]], "momentum": [0.95]},
        ]
    )

    phases: list[SchedulePhase]
