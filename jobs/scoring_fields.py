"""Fields of requests that look at photos with a trained model; `spec` has the requests."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from jobs.job_fields import DatasetRef, Devices, JobFields, require_a_photo_for_each

ModelAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$", examples=["production"])]

ModelRef = Annotated[
    str,
    Field(
        pattern=r"^(mdl_\w+|[a-z0-9][a-z0-9.-]*)$",
        max_length=64,
        description="id or alias of a model; the model that an alias leads to when the job is "
        "submitted is the one that counts",
    ),
]


class ScoringFields(JobFields):
    """What evaluations and predictions have in common: a model and photos to look at."""

    model: ModelRef
    dataset: DatasetRef = Field(
        description="id of a dataset, or the body of POST /v1/datasets to register one on the way"
    )
    batch_size: int = Field(default=64, ge=1, le=4096, description="photos in one forward pass")
    devices: Devices = 1
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    on_out_of_memory: Literal["halve_batch", "fail"] = Field(
        default="halve_batch",
        description="when a batch does not fit into memory: halve it, as often as needed",
    )

    @model_validator(mode="after")
    def _devices_have_photos(self) -> Self:
        require_a_photo_for_each(self.devices, self.batch_size)
        return self
