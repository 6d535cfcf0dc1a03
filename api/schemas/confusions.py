"""Which classes are taken for which, and how the model does on each."""

from typing import Literal

from pydantic import Field

from api.schemas.resource import JobIdExample, Resource, example


class ConfusedPair(Resource):
    """How often photos of one class were taken for another."""

    label: str
    predicted: str
    count: int


class Confusion(Resource):
    """Which classes are taken for which; the counts add up to the ledger's rows."""

    model_config = example(
        object="confusion",
        job_id=JobIdExample,
        split="valid",
        labels=["beagle", "pug"],
        matrix=[[9, 1], [0, 10]],
        most_confused=[{"label": "beagle", "predicted": "pug", "count": 1}],
        count=20,
        correct=19,
        accuracy=0.95,
    )

    object: Literal["confusion"] = "confusion"
    job_id: str
    split: str
    labels: list[str] = Field(description="of the rows and columns, in order")
    matrix: list[list[int]] = Field(description="rows are labels, columns are predictions")
    most_confused: list[ConfusedPair] = Field(description="largest first, at most 100")
    count: int
    correct: int
    accuracy: float | None


class ClassMetrics(Resource):
    """How the model does on one class; null where nothing can be divided by."""

    label: str
    support: int = Field(description="photos with this label")
    predicted: int = Field(description="photos taken for this class")
    correct: int
    precision: float | None
    recall: float | None
    f1: float | None
    mean_loss: float | None


class ClassReport(Resource):
    """How the model does, class by class."""

    model_config = example(
        object="class_report",
        job_id=JobIdExample,
        split="valid",
        data=[{"label": "beagle", "support": 10, "predicted": 9, "correct": 9, "precision": 1.0,
               "recall": 0.9, "f1": 0.947, "mean_loss": 0.4}],
        accuracy=0.95,
        macro_f1=0.949,
    )  # fmt: skip

    object: Literal["class_report"] = "class_report"
    job_id: str
    split: str
    data: list[ClassMetrics]
    accuracy: float | None
    macro_f1: float | None = Field(description="mean of f1 over the classes that have photos")
