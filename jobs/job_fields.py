"""Fields that the requests of several jobs share; `spec` has the requests."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from jobs.dataset_spec import DatasetSpec, Metadata, Spec
from jobs.device_list import MOST
from jobs.hyperparameters import Augment, JobId, misfit

DEFAULT_PRIORITY = 5

Devices = Annotated[
    int,
    Field(
        ge=1,
        le=MOST,
        description="devices of one worker that share every batch; batch_size is that of all "
        "together, and steps and losses are those of one device, up to the order of sums",
    ),
]

DatasetId = Annotated[str, Field(pattern=r"^ds_", max_length=64)]

DatasetRef = DatasetId | DatasetSpec
"""A registered dataset, or one that is registered on the way."""


def require_a_photo_for_each(devices: int, batch_size: int) -> None:
    """Every device has a photo of each batch.

    Raises:
        PydanticCustomError: there are more devices than photos.
    """
    if batch_size < devices:
        raise misfit(
            "devices",
            f"{devices} devices cannot share batches of {batch_size}; "
            f"ask for {batch_size} at the most, or for larger batches",
        )


class JobFields(Spec):
    """Order, dependencies and labels of a job."""

    depends_on: Annotated[list[JobId], Field(max_length=16)] = Field(
        default=[],
        description="jobs that must succeed before this one begins; "
        "those named elsewhere in the body are waited for anyhow",
    )
    priority: int = Field(default=DEFAULT_PRIORITY, ge=0, le=9, description="higher runs first")
    name: str | None = Field(default=None, min_length=1, max_length=200)
    metadata: Metadata = Field(default={}, description="your own keys and values")


class PresizedFields(JobFields):
    """A dataset's photos, stored at one size and cut to another."""

    dataset: DatasetRef = Field(
        description="id of a dataset, or the body of POST /v1/datasets to register one on the way"
    )
    presize: int = Field(
        default=460, ge=32, le=2048, description="short side that photos are stored at, pixels"
    )
    size: int = Field(
        default=224, ge=32, le=1024, description="side of the square the network sees, pixels"
    )
    augment: Augment = Augment()
    seed: int = Field(default=42, ge=0, le=2**32 - 1, description="seed of everything random")

    @model_validator(mode="after")
    def _presize_covers_size(self) -> Self:
        if self.presize < self.size:
            raise misfit(
                "presize",
                f"presize {self.presize} is smaller than size {self.size}; "
                "photos are stored at presize and cut to size",
            )
        return self
