"""What a client asks for when it makes another version of a dataset."""

from typing import Annotated

from pydantic import Field

from jobs.dataset_spec import Metadata, Spec
from jobs.hyperparameters import ItemId

MOST_CHANGES = 10_000


class Relabelling(Spec):
    """Another label for one photo."""

    item: ItemId = Field(description="id of a photo of the dataset")
    label: str = Field(
        min_length=1, max_length=4096, description="its label from now on; it may be a new class"
    )


class DatasetVersion(Spec):
    """Changes to a dataset that is ready; they make another one, and leave it as it is."""

    relabel: Annotated[list[Relabelling], Field(max_length=MOST_CHANGES)] = Field(
        default=[], description="photos with their right labels; they stay in their part"
    )
    exclude: Annotated[list[ItemId], Field(max_length=MOST_CHANGES)] = Field(
        default=[], description="ids of photos to leave out"
    )
    name: str | None = Field(
        default=None, min_length=1, max_length=200, description="absent: that of the dataset"
    )
    metadata: Metadata | None = Field(
        default=None, description="your own keys and values; absent: those of the dataset"
    )


class VersionOf(DatasetVersion):
    """The changes with the dataset that they are made to."""

    parent: str = Field(pattern=r"^ds_", max_length=64, description="id of a dataset")
