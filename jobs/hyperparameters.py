"""Values inside a training's request that have a shape of their own: weights, rates, augmentation.

`spec` has the requests; a field that is not here or there is refused, never ignored.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from jobs.dataset_spec import Spec

AUTO = "auto"
NO_WEIGHTS = "none"

JobId = Annotated[str, Field(pattern=r"^job_", max_length=64)]
ItemId = Annotated[str, Field(pattern=r"^itm_", max_length=64)]
LearningRate = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


def misfit(field: str, detail: str) -> PydanticCustomError:
    """One field does not fit another; it is the one that a client is pointed to."""
    return PydanticCustomError("value_error", "{detail}", {"field": field, "detail": detail})


class WeightsFile(Spec):
    """A file with weights, inside one of the allow-listed roots."""

    path: str = Field(
        min_length=1,
        max_length=4096,
        description="absolute path of a .safetensors file or a PyTorch state dict",
    )


class WeightsFromJob(Spec):
    """The model that a fine-tune of the same architecture has made, its head where it fits."""

    from_job: JobId = Field(description="id of a fine_tune job")


class WeightsFromModel(Spec):
    """A model that is there already, of the same architecture; its head where it fits."""

    model: str = Field(min_length=1, max_length=100, description="id or alias of a model")


TrainedWeights = WeightsFromJob | WeightsFromModel
Weights = Annotated[str, Field(min_length=1, max_length=100)] | WeightsFile | TrainedWeights


class Augment(Spec):
    """Random changes of a training photo; how they are made of pixels is `presize_mode`'s."""

    min_scale: float = Field(
        default=0.75, gt=0, le=1, description="smallest share of the area that a crop keeps"
    )
    max_rotate: float = Field(default=10.0, ge=0, le=180, description="largest rotation, degrees")
    max_zoom: float = Field(default=1.1, ge=1, le=4, description="largest magnification")
    max_lighting: float = Field(
        default=0.2, ge=0, lt=1, description="largest change of brightness and contrast"
    )
    max_warp: float = Field(
        default=0.2, ge=0, lt=0.5, description="largest perspective shift, share of half the side"
    )
    flip: bool = Field(default=True, description="mirror half of the photos left to right")


_Shift = Annotated[float, Field(gt=-0.5, lt=0.5, allow_inf_nan=False)]


class FixedDraws(Spec):
    """Changes of the whole centre square, each of which is left out at its default."""

    rotate_deg: float = Field(default=0.0, ge=-180, le=180, description="degrees, clockwise")
    zoom: float = Field(default=1.0, ge=1, le=4, description="magnification about the centre")
    warp: Annotated[list[_Shift], Field(min_length=2, max_length=2)] = Field(
        default=[0.0, 0.0], description="perspective, across and down, in shares of half the side"
    )
    flip: bool = Field(default=False, description="mirrored left to right")


class LearningRateFromJob(Spec):
    """The rate that a learning-rate find suggests, once it has succeeded."""

    from_job: JobId = Field(description="id of an lr_find job")
    rule: Literal[
        "recommended",
        "minimum_over_10",
        "minimum_over_10_zero_lag",
        "last_clear_descent",
        "steepest",
        "valley",
        "slide",
    ] = "recommended"


class LearningRateRange(Spec):
    """Peak rates of the unfrozen phase, geometric from the first layer group to the head."""

    lowest: LearningRate
    highest: LearningRate

    @model_validator(mode="after")
    def _lowest_first(self) -> "LearningRateRange":
        if self.lowest > self.highest:
            raise misfit("lowest", f"lowest {self.lowest} is above highest {self.highest}")
        return self


class LearningRatePerGroup(Spec):
    """Peak rates of the unfrozen phase, one for each layer group, the head last."""

    per_group: Annotated[list[LearningRate], Field(min_length=1, max_length=8)]


class LrMult(Spec):
    """The head's rate is this many times that of the first layer group."""

    lr_mult: float = Field(default=100.0, ge=1, le=1e6, allow_inf_nan=False)


class LayerDecay(Spec):
    """Each block's rate is this times that of the next one, the head's being the base."""

    layer_decay: float = Field(
        default=0.75, ge=0.01, le=1, description="factor from block to block"
    )


BALANCED = "balanced"
ClassWeights = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=4096)],
        Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)],
    ],
    Field(min_length=1, max_length=10_000),
]
"""Label to what its photos weigh in the loss; labels left out weigh 1."""

Metric = Literal["valid_loss", "accuracy"]


class EarlyStopping(Spec):
    """Ends the unfrozen phase when its epochs bring nothing better; the schedule stays."""

    patience: int = Field(
        default=3, ge=1, le=1000, description="unfrozen epochs in a row without anything better"
    )
    metric: Metric = Field(default="valid_loss", description="what is to become better")
    min_delta: float = Field(
        default=0.0, ge=0, le=100, allow_inf_nan=False, description="better means by more than this"
    )


class Checkpoint(Spec):
    """Which epoch's model is kept in the end."""

    keep_best: bool = Field(
        default=False, description="keep the model of the best epoch instead of the last one"
    )
    best_by: Metric = Field(default="valid_loss", description="what makes an epoch the best")


class Schedule(Spec):
    """Shape of the unfrozen one-cycle (Smith & Topin 2018, arXiv:1708.07120)."""

    pct_start: float = Field(
        default=0.3, ge=0, le=1, description="share of the steps in which the rate rises"
    )
    div: float = Field(default=5.0, ge=1, le=1e6, description="peak rate over first rate")
