"""What a client asks for: every field with its default, bounds and unit.

The same models check the HTTP body, are stored with the job, and are read by the worker.
A field that is not here is refused, never ignored.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jobs.dataset_spec import DatasetSpec
from jobs.hyperparameters import (
    Checkpoint,
    ClassWeights,
    EarlyStopping,
    FixedDraws,
    ItemId,
    LayerDecay,
    LearningRate,
    LearningRateFromJob,
    LearningRatePerGroup,
    LearningRateRange,
    LrMult,
    Schedule,
    misfit,
)
from jobs.job import JobType
from jobs.job_fields import JobFields, PresizedFields
from jobs.scoring_fields import ScoringFields
from jobs.training_fields import TrainingFields
from jobs.version_spec import VersionOf

SPEC_VERSION = 1

_LEAST_RISE = 2


class LrFindSpec(TrainingFields):
    """A learning-rate range test (Smith 2017, arXiv:1506.01186)."""

    start_lr: LearningRate = Field(default=1e-7, ge=1e-30, description="first rate of the sweep")
    end_lr: LearningRate = Field(default=10.0, description="rate the sweep grows towards")
    num_steps: int = Field(default=100, ge=20, le=10_000, description="steps of the sweep")
    repeats: int = Field(
        default=1, ge=1, le=10, description="sweeps, each with the next seed; their median is taken"
    )
    sweep: Literal["frozen_body", "all", "each"] = Field(
        default="frozen_body",
        description="what learns during the sweep: the new head, as at the start of a fine-tune, "
        "every layer, as in a training from random weights, or one layer group after the other, "
        "in sweeps of their own",
    )

    @model_validator(mode="after")
    def _sweep_rises(self) -> "LrFindSpec":
        if self.end_lr < _LEAST_RISE * self.start_lr:
            raise misfit(
                "end_lr",
                f"end_lr {self.end_lr} is below {_LEAST_RISE} times start_lr {self.start_lr}; "
                "the sweep rises over a range of rates",
            )
        return self


class FineTuneSpec(TrainingFields):
    """Train a new head with the body frozen, then everything with discriminative rates."""

    epochs: int = Field(default=3, ge=1, le=1000, description="epochs with everything unfrozen")
    freeze_epochs: int = Field(
        default=1, ge=0, le=1000, description="epochs before that with the body frozen"
    )
    learning_rate: (
        LearningRate
        | Literal["auto"]
        | LearningRateFromJob
        | LearningRateRange
        | LearningRatePerGroup
    ) = Field(
        default=2e-3,
        description='base rate: the peak of the frozen head; "auto" finds it by a job of its own',
    )
    discriminative: LrMult | LayerDecay | Literal["off"] | None = Field(
        default=None,
        description="how the peaks fall towards the first layers: over the layer groups, or from "
        'block to block with {"layer_decay": 0.75}; absent: {"lr_mult": 100}',
    )
    schedule: Schedule = Schedule()
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of the target given to all classes alike"
    )
    class_weights: Literal["balanced"] | ClassWeights | None = Field(
        default=None,
        description='what a photo weighs in the loss, by its label: {"beagle": 3} and 1 for all '
        'others, or "balanced", photos / (classes · photos of the class)',
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="batches whose gradients make one optimiser step; it learns as with a batch of "
        "this many times batch_size, with the memory of one",
    )
    early_stopping: EarlyStopping | None = Field(
        default=None, description="end when further epochs bring nothing better; absent: never"
    )
    checkpoint: Checkpoint = Checkpoint()
    max_duration_s: float | None = Field(
        default=None,
        gt=0,
        le=30 * 24 * 3600,
        allow_inf_nan=False,
        description="end after the step in which this time is over, evaluate and keep the model; "
        "seconds, those of earlier attempts included",
    )
    compile: Literal["auto", "off"] = Field(
        default="auto",
        description="steps as CUDA graphs, or compiled, where that is expected to end the training "
        'sooner, preparing included; only on one GPU, and without parts of a batch; "off": never',
    )
    on_environment_change: Literal["fail", "continue"] = Field(
        default="fail",
        description="when an interrupted training would go on where it cannot end with the same "
        "bits, such as on another kind of CPU: fail, or go on all the same with a warning",
    )

    @model_validator(mode="after")
    def _rates_given_once(self) -> "FineTuneSpec":
        given = isinstance(self.learning_rate, LearningRateRange | LearningRatePerGroup)
        if given and self.discriminative is not None:
            raise misfit(
                "discriminative",
                "discriminative must be absent when learning_rate gives each group's rate",
            )
        return self


LabelMapping = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=4096)],
        Annotated[str, Field(min_length=1, max_length=4096)] | None,
    ],
    Field(max_length=10_000),
]
"""Label of a dataset to the class that it is scored as; None leaves its photos out."""


class EvaluationSpec(ScoringFields):
    """Per-sample cross-entropy of a model on one part of a dataset."""

    split: Literal["train", "valid", "test", "all"] = "valid"
    label_mapping: LabelMapping = Field(
        default={},
        description="what a label of the dataset is scored as: a class of the model, or null to "
        "leave its photos out; a label that is a class needs no entry",
    )


class PredictionSpec(ScoringFields):
    """What a model says of the photos of a dataset, whatever their labels."""

    split: Literal["train", "valid", "test", "all"] = "all"


class PresizingPreviewSpec(PresizedFields):
    """The same photos presized in three ways with the same draws, as pictures and as numbers."""

    images: (
        Annotated[int, Field(ge=1, le=16)]
        | Annotated[list[ItemId], Field(min_length=1, max_length=16)]
    ) = Field(
        default=4,
        description="how many photos of the training part, drawn by the seed, or their ids, each "
        "once and of any part",
    )
    draws: FixedDraws | None = Field(
        default=None, description="changes that are the same for all photos, instead of random ones"
    )

    @model_validator(mode="after")
    def _each_photo_once(self) -> "PresizingPreviewSpec":
        if isinstance(self.images, list) and len(set(self.images)) < len(self.images):
            raise misfit("images", "an id is named more than once; name each photo once")
        return self


class DatasetImportSpec(JobFields):
    """The import of a registered dataset: from its source or, of a version, from its parent."""

    dataset: str
    request: DatasetSpec
    version: VersionOf | None = None


Plot = Literal[
    "lr-curve",
    "loss-curve",
    "lr-schedule",
    "confusion",
    "top-losses",
    "calibration",
    "presizing-preview",
]


class ExportSpec(JobFields):
    """A plot of another job's results, drawn in every format."""

    job: str
    plot: Plot
    split: str | None = None
    content: str = Field(description="digest of what is drawn; a running job's plots change")


class ModelExportSpec(JobFields):
    """A model as a file for other programs."""

    model: str
    format: Literal["onnx"] = "onnx"


class PredictSpec(JobFields):
    """Photos that a request brought along, whose logits it waits for."""

    model: str
    images: int = Field(ge=1, description="how many; they lie in the job's folder")


class ProbeSpec(JobFields):
    """A few steps of a training that was only planned, to see how long it would take."""

    lr_find: LrFindSpec | None = None
    fine_tune: FineTuneSpec | None = None
    phases: list[Literal["frozen", "unfrozen"]] = Field(
        default=["frozen", "unfrozen"], description="what is measured"
    )

    @property
    def training(self) -> LrFindSpec | FineTuneSpec:
        """The planned training."""
        planned = self.lr_find or self.fine_tune
        if planned is None:
            raise ValueError("a probe needs a planned training")
        return planned


JobSpec = (
    DatasetImportSpec
    | LrFindSpec
    | FineTuneSpec
    | EvaluationSpec
    | PredictionSpec
    | PresizingPreviewSpec
    | ExportSpec
    | ProbeSpec
    | ModelExportSpec
    | PredictSpec
)

SPEC_OF: dict[JobType, type[JobSpec]] = {
    JobType.DATASET_IMPORT: DatasetImportSpec,
    JobType.LR_FIND: LrFindSpec,
    JobType.FINE_TUNE: FineTuneSpec,
    JobType.EVALUATION: EvaluationSpec,
    JobType.PREDICTION: PredictionSpec,
    JobType.PRESIZING_PREVIEW: PresizingPreviewSpec,
    JobType.EXPORT: ExportSpec,
    JobType.PROBE: ProbeSpec,
    JobType.MODEL_EXPORT: ModelExportSpec,
    JobType.PREDICT: PredictSpec,
}
