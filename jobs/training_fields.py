"""Fields that learning-rate finds and fine-tunes have in common; `spec` has the requests."""

from typing import Literal, Self

from pydantic import Field, model_validator

from jobs.hyperparameters import Weights
from jobs.job_fields import Devices, PresizedFields, require_a_photo_for_each


class TrainingFields(PresizedFields):
    """What a learning-rate find and a fine-tune have in common."""

    architecture: str = Field(
        default="resnet34", min_length=1, max_length=100, description="torchvision's name"
    )
    weights: Weights = Field(
        default="DEFAULT",
        description='"DEFAULT", a torchvision weights name, "none" (random), {"path": …}, '
        '{"model": …} or {"from_job": …}',
    )
    presize_mode: Literal["single", "fastai"] = Field(
        default="single",
        description='"single": photos are stored at presize and sampled once; "fastai": every '
        "photo is decoded in every epoch and goes through fastai's steps, which is slow",
    )
    batch_size: int = Field(default=64, ge=2, le=4096, description="photos in one step")
    devices: Devices = 1
    weight_decay: float = Field(
        default=0.01, ge=0, lt=1, allow_inf_nan=False, description="decoupled weight decay"
    )
    train_norm_layers: bool = Field(
        default=True, description="train normalisation layers of the frozen body"
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto", description="number format of the forward pass"
    )
    on_out_of_memory: Literal["halve_batch", "fail"] = Field(
        default="halve_batch",
        description="when a batch does not fit into memory: halve the photos that are looked at at "
        "once, as often as needed, and accumulate; a step learns from as many photos as before",
    )

    @model_validator(mode="after")
    def _devices_have_photos(self) -> Self:
        require_a_photo_for_each(self.devices, self.batch_size)
        return self
