"""Datasets, their reports and their photos as clients see them."""

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
    classes: list[ClassCount] = Field(description="in the order of their class index")
    source: dict[str, Any]
    labels: dict[str, Any]
    split: dict[str, Any]
    error: Error | None
    metadata: dict[str, str]
    version: int = Field(description="counts edits; send it in If-Match")
    created_at: Time
    links: dict[str, str]

    @classmethod
    def of(cls, dataset: Dataset) -> "DatasetResource":
        """The dataset as a client sees it."""
        own = f"/v1/datasets/{dataset.id}"
        return cls(
            id=dataset.id,
            name=dataset.name,
            state=dataset.state,
            job_id=dataset.job_id,
            digest=dataset.digest,
            counts=None if dataset.counts is None else Counts.model_validate(dataset.counts),
            classes=[ClassCount.model_validate(entry) for entry in dataset.classes],
            source=dict(dataset.spec["source"]),
            labels=dict(dataset.spec["labels"]),
            split=dict(dataset.spec["split"]),
            error=None if dataset.error is None else Error.model_validate(dataset.error),
            metadata=dict(dataset.metadata),
            version=dataset.version,
            created_at=time_of(dataset.created_ms),
            links={
                "self": own,
                "report": f"{own}/report",
                "items": f"{own}/items",
                "job": f"/v1/jobs/{dataset.job_id}",
            },
        )


class DatasetList(ListOf[DatasetResource]):
    """One page of datasets."""


class DatasetEdit(Spec):
    """What can be changed of a dataset; what is absent stays."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    metadata: Metadata | None = Field(default=None, description="replaces all keys")


class UnreadableFile(Resource):
    """A file that is no photo, or cannot be decoded."""

    path: str
    reason: str


class Unmatched(Resource):
    """Names that the label rule reads nothing from."""

    count: int = 0
    examples: list[str] = Field(default_factory=list)


class Finding(Resource):
    """Something to know, with a code for programs and words for people."""

    code: str
    detail: str
    count: int = Field(default=1, description="how often")
    examples: list[list[str]] = Field(
        default_factory=list,
        description="files or labels that it is about; those of one example belong together",
    )
    hint: str | None = Field(default=None, description="what can be done")


class LeftOut(Resource):
    """Members of an archive that are not among the dataset's files."""

    reason: str = Field(description="hidden, not_a_photo, link or special; may grow")
    count: int
    examples: list[str]


class PartCounts(Resource):
    """Photos in each part."""

    train: int = 0
    valid: int = 0
    test: int = 0


class Sizes(Resource):
    """Extent of the photos, pixels."""

    min_width: int | None = None
    max_width: int | None = None
    min_height: int | None = None
    max_height: int | None = None


class ReportResource(Resource):
    """What the import of a dataset found."""

    model_config = example(
        object="dataset_report",
        dataset_id=DatasetIdExample,
        files=371,
        usable=370,
        unreadable=[{"path": "beagle_9.jpg", "reason": "truncated"}],
        unmatched={"count": 0, "examples": []},
        counts={"train": 296, "valid": 74, "test": 0},
        sizes={"min_width": 120, "max_width": 800, "min_height": 96, "max_height": 600},
        classes=[{"label": "beagle", "count": 10}],
        left_out=[{"reason": "not_a_photo", "count": 1, "examples": ["README.txt"]}],
        warnings=[
            {
                "code": "train_valid_leak",
                "detail": "1 pictures are trained on and validated or tested on",
                "count": 1,
                "examples": [["beagle_2.jpg", "beagle_31.jpg"]],
                "hint": "exclude all but one photo of each; until then the scores are too good",
            }
        ],
    )

    object: Literal["dataset_report"] = "dataset_report"
    dataset_id: str
    files: int
    usable: int
    unreadable: list[UnreadableFile] = Field(default_factory=list, description="the first 1,000")
    unmatched: Unmatched = Unmatched()
    counts: PartCounts = PartCounts()
    sizes: Sizes | None = None
    classes: list[ClassCount] = Field(default_factory=list)
    left_out: list[LeftOut] = Field(
        default_factory=list, description="what an archive holds beside its photos"
    )
    warnings: list[Finding] = Field(default_factory=list)

    @classmethod
    def of(cls, dataset: Dataset) -> "ReportResource":
        """The report of a dataset that has one."""
        return cls.model_validate(
            {**(dataset.report or {}), "dataset_id": dataset.id, "classes": list(dataset.classes)}
        )


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
