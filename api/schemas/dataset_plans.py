"""What a dataset would be, as clients see it: a dry run of its registration."""

from typing import Literal

from pydantic import Field

from api.schemas.dataset_reports import PartCounts, Unmatched
from api.schemas.datasets import ClassCount
from api.schemas.explain import LabelledName, LabelsHint, NearDuplicate
from api.schemas.resource import Resource, example


class Obstacle(Resource):
    """Why the dataset would be refused as it was sent."""

    code: str
    detail: str
    pointer: str | None = None


class DatasetPlan(Resource):
    """What the names of a source say under this label rule and this split."""

    model_config = example(
        object="dataset_plan",
        names=370,
        is_complete=True,
        matched=370,
        unmatched={"count": 0, "examples": []},
        classes=[{"label": "beagle", "count": 10}, {"label": "pug", "count": 10}],
        counts={"train": 296, "valid": 74, "test": 0},
        examples=[{"name": "beagle_1.jpg", "label": "beagle", "reason": None}],
        near_duplicates=[],
        hint=None,
        obstacles=[],
        note=None,
    )

    object: Literal["dataset_plan"] = "dataset_plan"
    names: int = Field(description="names that were looked at")
    is_complete: bool = Field(description="whether they are all; listing ends after 2 s")
    matched: int = Field(description="names with a label")
    unmatched: Unmatched
    classes: list[ClassCount] = Field(description="in the order of their class index")
    counts: PartCounts | None = Field(description="photos in each part, if all could be listed")
    examples: list[LabelledName] = Field(description="the first names with their labels")
    near_duplicates: list[NearDuplicate] = Field(description="labels that may be one class")
    hint: LabelsHint | None = Field(description="a rule that was tried and labels more names")
    obstacles: list[Obstacle] = Field(description="empty if it could be registered as it is")
    note: str | None = Field(description="why no name could be looked at, where that is so")
