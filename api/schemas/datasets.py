"""Datasets and their photos as clients see them; what imports found is in `dataset_reports`."""

from typing import Any, Literal

from pydantic import Field

from api.schemas.resource import (
    DatasetIdExample,
    Error,
    ItemIdExample,
    JobIdExample,
    ListOf,
    Resource,
    Time,
    example,
    time_of,
)
from jobs.dataset_spec import Metadata, Spec
from jobs.datasets import Dataset


class ClassCount(Resource):
    """A class with the number of its photos."""

    label: str
    count: int


class Counts(Resource):
    """How many files a source has, and how many photos each part."""

    files: int = 0
    usable: int = 0
    train: int = 0
    valid: int = 0
    test: int = 0
    classes: int = 0


class DatasetResource(Resource):
    """One dataset; it can be trained on once its state is ready."""

    model_config = example(
        id=DatasetIdExample,
        object="dataset",
        name="pets",
        state="ready",
        job_id=JobIdExample,
        digest="9f2c",
        counts={"files": 370, "usable": 370, "train": 296, "valid": 74, "test": 0, "classes": 37},
        classes=[{"label": "beagle", "count": 10}],
        parent_id=None,
        source={"type": "path", "path": "/data/pets"},
        labels={"rule": "regex", "pattern": "^(.+)_\\d+\\.jpg$", "on": "name", "group": 1,
                "unmatched": "error"},
        split={"rule": "random", "valid_fraction": 0.2, "seed": 42, "stratify": True},
        error=None,
        metadata={},
        version=1,
        created_at="2026-03-01T12:00:00.000Z",
        links={"self": f"/v1/datasets/{DatasetIdExample}"},
    )  # fmt: skip

    id: str
    object: Literal["dataset"] = "dataset"
    name: str
    state: str = Field(description="importing, ready or failed; may grow")
    job_id: str = Field(description="the import")
    digest: str | None = Field(description="of all photos, labels and parts; null until ready")
    counts: Counts | None
    classes: list[ClassCount] = Field(
        description="in the order of their class index; within a list of datasets the first 100, "
        "of so many as `counts` says"
    )
    parent_id: str | None = Field(
        description="the dataset that this is a version of; that one may be deleted meanwhile"
    )
    source: dict[str, Any]
    labels: dict[str, Any]
    split: dict[str, Any]
    error: Error | None
    metadata: dict[str, str]
    version: int = Field(description="counts edits; send it in If-Match")
    created_at: Time
    links: dict[str, str]

    @classmethod
    def of(cls, dataset: Dataset, *, most_classes: int | None = None) -> "DatasetResource":
        """The dataset as a client sees it."""
        return cls(
            id=dataset.id,
            name=dataset.name,
            state=dataset.state,
            job_id=dataset.job_id,
            digest=dataset.digest,
            counts=None if dataset.counts is None else Counts.model_validate(dataset.counts),
            classes=[ClassCount.model_validate(entry) for entry in dataset.classes[:most_classes]],
            parent_id=dataset.parent_id,
            source=dict(dataset.spec["source"]),
            labels=dict(dataset.spec["labels"]),
            split=dict(dataset.spec["split"]),
            error=None if dataset.error is None else Error.model_validate(dataset.error),
            metadata=dict(dataset.metadata),
            version=dataset.version,
            created_at=time_of(dataset.created_ms),
            links=_links(dataset),
        )


def _links(dataset: Dataset) -> dict[str, str]:
    own = f"/v1/datasets/{dataset.id}"
    parent = f"/v1/datasets/{dataset.parent_id}"
    return {
        "self": own,
        "report": f"{own}/report",
        "items": f"{own}/items",
        "job": f"/v1/jobs/{dataset.job_id}",
        "versions": f"/v1/datasets?parent_id={dataset.id}",
        **({} if dataset.parent_id is None else {"parent": parent}),
    }


class DatasetList(ListOf[DatasetResource]):
    """One page of datasets."""


class DatasetEdit(Spec):
    """What can be changed of a dataset; what is absent stays."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    metadata: Metadata | None = Field(default=None, description="replaces all keys")


class ItemResource(Resource):
    """One file of a dataset."""

    model_config = example(
        object="item",
        item_id=ItemIdExample,
        path="beagle_87.jpg",
        label="beagle",
        split="train",
        width=500,
        height=375,
        format="JPEG",
        mode="RGB",
        size_bytes=61234,
        digest="9f2c",
        usable=True,
        reason=None,
        image=f"/v1/datasets/{DatasetIdExample}/items/{ItemIdExample}/image?size=256",
    )

    object: Literal["item"] = "item"
    item_id: str
    path: str = Field(description="below the source, with /")
    label: str | None
    split: str | None
    width: int | None
    height: int | None
    format: str | None
    mode: str | None
    size_bytes: int | None
    digest: str | None
    usable: bool
    reason: str | None = Field(description="why it is not usable")
    image: str | None = Field(description="address of a thumbnail")


class ItemList(ListOf[ItemResource]):
    """One page of a dataset's files."""
