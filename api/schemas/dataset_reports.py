"""What the import of a dataset found, as clients see it."""

from typing import Literal

from pydantic import ConfigDict, Field

from api.schemas.datasets import ClassCount
from api.schemas.resource import DatasetIdExample, ItemIdExample, Resource, example
from jobs.datasets import Dataset


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
    items: list[list[str]] = Field(
        default_factory=list,
        description="ids of the files of the examples, in the same order; empty where those are "
        "labels",
    )
    hint: str | None = Field(default=None, description="what can be done")


class LeftOut(Resource):
    """Members of an archive that are not among the dataset's files."""

    reason: str = Field(description="hidden, not_a_photo, link or special; may grow")
    count: int
    examples: list[str]


class RelabelledItem(Resource):
    """A photo whose label is another one than in the parent."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    item_id: str = Field(examples=[ItemIdExample])
    path: str
    split: str | None
    before: str | None = Field(alias="from")
    after: str = Field(alias="to")


class ExcludedItem(Resource):
    """A file of the parent that is not among the version's."""

    item_id: str = Field(examples=[ItemIdExample])
    path: str
    split: str | None
    label: str | None


class Relabelled(Resource):
    """The photos with another label."""

    count: int
    items: list[RelabelledItem] = Field(description="the first 1,000")


class Excluded(Resource):
    """The files that were left out."""

    count: int
    items: list[ExcludedItem] = Field(description="the first 1,000")


class Changes(Resource):
    """What a version differs in from its parent."""

    relabelled: Relabelled
    excluded: Excluded
    new_classes: list[str] = Field(description="labels that the parent does not have")
    gone_classes: list[str] = Field(description="labels that no photo has any more")


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
        changes=None,
        warnings=[
            {
                "code": "train_valid_leak",
                "detail": "1 pictures are trained on and validated or tested on",
                "count": 1,
                "examples": [["beagle_2.jpg", "beagle_31.jpg"]],
                "items": [[ItemIdExample, "itm_0f1e2d3c4b5a69788796a5b4c3d2e1f0"]],
                "hint": "exclude all but one photo of each with POST /v1/datasets/{id}/versions; "
                "until then the scores are too good",
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
    changes: Changes | None = Field(
        default=None, description="of a version, what differs from its parent"
    )
    warnings: list[Finding] = Field(default_factory=list)

    @classmethod
    def of(cls, dataset: Dataset) -> "ReportResource":
        """The report of a dataset that has one."""
        return cls.model_validate(
            {**(dataset.report or {}), "dataset_id": dataset.id, "classes": list(dataset.classes)}
        )
