"""What a client asks for: every field with its default, bounds and unit.

The same models check the HTTP body, are stored with the job, and are read by the worker.
A field that is not here is refused, never ignored.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from jobs.job import JobType

SPEC_VERSION = 1

_LEAST_RISE = 2

LearningRate = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Metadata = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


class Spec(BaseModel):
    """Base of all specs: frozen, unknown fields refused, JSON types not coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _misfit(field: str, detail: str) -> PydanticCustomError:
    """One field does not fit another; it is the one that a client is pointed to."""
    return PydanticCustomError("value_error", "{detail}", {"field": field, "detail": detail})


# --- datasets ------------------------------------------------------------------------------


class PathSource(Spec):
    """A folder on the server, inside one of the allow-listed roots; it is read in place."""

    type: Literal["path"]
    path: str = Field(min_length=1, max_length=4096, description="absolute folder on the server")


class SampleSource(Spec):
    """Photos that the service draws itself, for a first run without any data."""

    type: Literal["sample"]
    photos_per_class: int = Field(
        default=60, ge=8, le=500, description="photos drawn for each class"
    )
    seed: int = Field(default=1, ge=0, le=2**32 - 1, description="seed of the drawing")


Source = Annotated[PathSource | SampleSource, Field(discriminator="type")]


class RegexLabels(Spec):
    """The label is what a capture group of a regular expression (RE2) finds in the name."""

    rule: Literal["regex"]
    pattern: str = Field(min_length=1, max_length=1000, description="RE2 pattern with a group")
    on: Literal["name", "path"] = Field(
        default="name", description="the file's name, or its path below the source"
    )
    group: (
        Annotated[int, Field(ge=1, le=100)] | Annotated[str, Field(min_length=1, max_length=100)]
    ) = Field(default=1, description="number (from 1) or name of the capture group")
    unmatched: Literal["error", "skip"] = Field(
        default="error", description="whether names without a match fail the import or are left out"
    )


class ParentFolderLabels(Spec):
    """The label is the name of the folder the file lies in."""

    rule: Literal["parent_folder"]


Labels = Annotated[RegexLabels | ParentFolderLabels, Field(discriminator="rule")]


class RandomSplit(Spec):
    """A seeded share of the sorted file list is kept for validation."""

    rule: Literal["random"]
    valid_fraction: float = Field(
        default=0.2, gt=0, lt=1, allow_inf_nan=False, description="share kept for validation"
    )
    seed: int = Field(default=42, ge=0, le=2**32 - 1, description="seed of the shuffle")
    stratify: bool = Field(default=True, description="keep each class's share equal in both parts")


class FolderSplit(Spec):
    """The first folder says the part: ``train``, ``valid`` (or ``val``) and ``test``."""

    rule: Literal["folders"]


Split = Annotated[RandomSplit | FolderSplit, Field(discriminator="rule")]


class DatasetSpec(Spec):
    """A source of photos, a rule that labels them and a rule that splits them."""

    name: str = Field(min_length=1, max_length=200, description="a name for people")
    source: Source
    labels: Labels
    split: Split = RandomSplit(rule="random")
    max_unreadable_fraction: Probability = Field(
        default=0.1, description="share of unreadable files above which the import fails"
    )
    metadata: Metadata = Field(default_factory=dict, description="your own keys and values")


# --- training ------------------------------------------------------------------------------


class WeightsFile(Spec):
    """A file with weights, inside one of the allow-listed roots."""

    path: str = Field(
        min_length=1,
        max_length=4096,
        description="absolute path of a .safetensors file or a PyTorch state dict",
    )


Weights = Annotated[str, Field(min_length=1, max_length=100)] | WeightsFile


class Augment(Spec):
    """Random changes of a training photo; all of them are one sampling of the presized pixels."""

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


class _TrainingFields(Spec):
    """What a learning-rate find and a fine-tune have in common."""

    dataset: str = Field(pattern=r"^ds_", max_length=64, description="id of a ready dataset")
    architecture: str = Field(
        default="resnet34", min_length=1, max_length=100, description="torchvision's name"
    )
    weights: Weights = Field(
        default="DEFAULT",
        description='"DEFAULT", a torchvision weights name, "none" (random), or {"path": …}',
    )
    presize: int = Field(
        default=460, ge=32, le=2048, description="short side that photos are stored at, pixels"
    )
    size: int = Field(
        default=224, ge=32, le=1024, description="side of the square the network sees, pixels"
    )
    batch_size: int = Field(default=64, ge=2, le=4096, description="photos in one step")
    weight_decay: float = Field(
        default=0.01, ge=0, lt=1, allow_inf_nan=False, description="decoupled weight decay"
    )
    augment: Augment = Augment()
    train_norm_layers: bool = Field(
        default=True, description="train normalisation layers of the frozen body"
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto", description="number format of the forward pass"
    )
    seed: int = Field(default=42, ge=0, le=2**32 - 1, description="seed of everything random")
    priority: int = Field(default=5, ge=0, le=9, description="higher runs first")
    name: str | None = Field(default=None, min_length=1, max_length=200)
    metadata: Metadata = Field(default_factory=dict, description="your own keys and values")

    @model_validator(mode="after")
    def _presize_covers_size(self) -> "_TrainingFields":
        if self.presize < self.size:
            raise _misfit(
                "presize",
                f"presize {self.presize} is smaller than size {self.size}; "
                "photos are stored at presize and cut to size",
            )
        return self


class LrFindSpec(_TrainingFields):
    """A learning-rate range test (Smith 2017, arXiv:1506.01186)."""

    start_lr: LearningRate = Field(default=1e-7, ge=1e-30, description="first rate of the sweep")
    end_lr: LearningRate = Field(default=10.0, description="rate the sweep grows towards")
    num_steps: int = Field(default=100, ge=20, le=10_000, description="steps of the sweep")
    sweep: Literal["frozen_body", "all"] = Field(
        default="frozen_body",
        description="what learns during the sweep: the new head, as at the start of a fine-tune, "
        "or every layer, as in a training from random weights",
    )

    @model_validator(mode="after")
    def _sweep_rises(self) -> "LrFindSpec":
        if self.end_lr < _LEAST_RISE * self.start_lr:
            raise _misfit(
                "end_lr",
                f"end_lr {self.end_lr} is below {_LEAST_RISE} times start_lr {self.start_lr}; "
                "the sweep rises over a range of rates",
            )
        return self


class LearningRateFromJob(Spec):
    """The rate that a finished learning-rate find suggests."""

    from_job: str = Field(pattern=r"^job_", max_length=64, description="id of an lr_find job")
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
            raise _misfit("lowest", f"lowest {self.lowest} is above highest {self.highest}")
        return self


class LearningRatePerGroup(Spec):
    """Peak rates of the unfrozen phase, one for each layer group, the head last."""

    per_group: Annotated[list[LearningRate], Field(min_length=1, max_length=8)]


class LrMult(Spec):
    """The head's rate is this many times that of the first layer group."""

    lr_mult: float = Field(default=100.0, ge=1, le=1e6, allow_inf_nan=False)


class Schedule(Spec):
    """Shape of the unfrozen one-cycle (Smith & Topin 2018, arXiv:1708.07120)."""

    pct_start: float = Field(
        default=0.3, ge=0, le=1, description="share of the steps in which the rate rises"
    )
    div: float = Field(default=5.0, ge=1, le=1e6, description="peak rate over first rate")


class FineTuneSpec(_TrainingFields):
    """Train a new head with the body frozen, then everything with discriminative rates."""

    epochs: int = Field(default=3, ge=1, le=1000, description="epochs with everything unfrozen")
    freeze_epochs: int = Field(
        default=1, ge=0, le=1000, description="epochs before that with the body frozen"
    )
    learning_rate: LearningRate | LearningRateFromJob | LearningRateRange | LearningRatePerGroup = (
        Field(default=2e-3, description="base rate: the peak of the frozen head")
    )
    discriminative: LrMult | Literal["off"] | None = Field(
        default=None,
        description='how the unfrozen peak falls towards the first layers; absent: {"lr_mult":100}',
    )
    schedule: Schedule = Schedule()
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of the target given to all classes alike"
    )

    @model_validator(mode="after")
    def _rates_given_once(self) -> "FineTuneSpec":
        given = isinstance(self.learning_rate, LearningRateRange | LearningRatePerGroup)
        if given and self.discriminative is not None:
            raise _misfit(
                "discriminative",
                "discriminative must be absent when learning_rate gives each group's rate",
            )
        return self


class EvaluationSpec(Spec):
    """Per-sample cross-entropy of a model on one part of a dataset."""

    model: str = Field(pattern=r"^mdl_", max_length=64, description="id of a model")
    dataset: str = Field(pattern=r"^ds_", max_length=64, description="id of a ready dataset")
    split: Literal["train", "valid", "test", "all"] = "valid"
    batch_size: int = Field(default=64, ge=1, le=4096, description="photos in one forward pass")
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    priority: int = Field(default=5, ge=0, le=9, description="higher runs first")
    name: str | None = Field(default=None, min_length=1, max_length=200)
    metadata: Metadata = Field(default_factory=dict, description="your own keys and values")


class DatasetImportSpec(Spec):
    """The import of a registered dataset; made by the service, never sent by a client."""

    dataset: str
    request: DatasetSpec
    priority: int = 5
    name: str | None = None
    metadata: Metadata = Field(default_factory=dict)


JobSpec = DatasetImportSpec | LrFindSpec | FineTuneSpec | EvaluationSpec

SPEC_OF: dict[JobType, type[JobSpec]] = {
    JobType.DATASET_IMPORT: DatasetImportSpec,
    JobType.LR_FIND: LrFindSpec,
    JobType.FINE_TUNE: FineTuneSpec,
    JobType.EVALUATION: EvaluationSpec,
}
