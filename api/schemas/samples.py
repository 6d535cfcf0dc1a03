"""The ledger of losses: one row per photo, and what all rows add up to."""

from typing import Literal

from pydantic import Field

from api.schemas.resource import ItemIdExample, JobIdExample, ListOf, Resource, example


class ClassScore(Resource):
    """What the model gave to one class."""

    label: str
    logit: float | None
    p: float | None


class Breakdown(Resource):
    """Where a loss comes from: loss = logsumexp - logit_label."""

    logit_label: float | None
    logsumexp: float | None
    loss: float | None
    top: list[ClassScore] = Field(description="the five largest outputs")


_SAMPLE = {
    "item_id": ItemIdExample,
    "path": "beagle_87.jpg",
    "split": "valid",
    "label": "beagle",
    "dataset_label": "beagle",
    "predicted": "basset_hound",
    "correct": False,
    "rank": 1,
    "loss": 6.21,
    "plain_loss": None,
    "weight": None,
    "p_label": 0.0020,
    "p_predicted": 0.94,
    "margin": -6.15,
    "share_of_total_loss": 0.0127,
    "breakdown": {
        "logit_label": 1.02,
        "logsumexp": 7.23,
        "loss": 6.21,
        "top": [{"label": "basset_hound", "logit": 7.17, "p": 0.94}],
    },
    "loss_by_epoch": [2.1, 4.0, 6.21],
    "probabilities": None,
    "image": f"/v1/jobs/{JobIdExample}/samples/{ItemIdExample}/image?size=256",
}


class SampleResource(Resource):
    """One photo with its loss."""

    model_config = example(**_SAMPLE)

    item_id: str
    path: str
    split: str
    label: str = Field(description="the class that the photo is scored as")
    dataset_label: str = Field(
        description="the label in the dataset; another one only where label_mapping says so"
    )
    predicted: str
    correct: bool
    rank: int = Field(description="1 has the largest loss")
    loss: float | None = Field(description="cross-entropy; null where not finite")
    plain_loss: float | None = Field(
        default=None, description="without label smoothing and class weights, when there were any"
    )
    weight: float | None = Field(
        default=None, description="of the row in the mean loss, when classes had weights"
    )
    p_label: float | None = Field(description="probability given to the label")
    p_predicted: float | None
    margin: float | None = Field(description="the label's logit less the largest other one")
    share_of_total_loss: float | None
    breakdown: Breakdown
    loss_by_epoch: list[float | None] = Field(description="of a fine-tune; else empty")
    probabilities: dict[str, float | None] | None = Field(
        default=None, description="of all classes, with expand=probabilities"
    )
    image: str


class Aggregate(Resource):
    """What the rows that match the filters come to."""

    count: int
    mean_loss: float | None
    reported_valid_loss: float | None = Field(
        description="what the job reported for the whole part; equals mean_loss without filters"
    )
    chance_loss: float = Field(description="loss of a guess of equal probabilities, ln C")


class SampleList(ListOf[SampleResource]):
    """One page of the ledger."""

    model_config = example(
        object="list",
        data=[_SAMPLE],
        has_more=True,
        next_cursor="eyJhdCI6WzYuMjFdfQ",
        aggregate={"count": 1478, "mean_loss": 0.331, "reported_valid_loss": 0.331,
                   "chance_loss": 3.611},
    )  # fmt: skip

    aggregate: Aggregate


class LossQuantiles(Resource):
    """Losses that half, nine tenths and 99 of 100 photos stay below, and the largest."""

    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None


class LabelCount(Resource):
    """How many photos have a label."""

    label: str
    count: int


class LeftOut(Resource):
    """The photos that an evaluation did not score, because label_mapping says so."""

    count: int
    labels: list[LabelCount] = Field(description="of the dataset, in the order of their names")


class SampleSummary(Resource):
    """The ledger in a few numbers."""

    model_config = example(
        object="sample_summary",
        job_id=JobIdExample,
        split="valid",
        count=1478,
        correct=1361,
        accuracy=0.9208,
        mean_loss=0.331,
        reported_valid_loss=0.331,
        chance_loss=3.611,
        not_finite=0,
        loss={"p50": 0.04, "p90": 0.9, "p99": 4.1, "max": 6.21},
        share_of_loss_in_worst_tenth=0.81,
        left_out={"count": 3, "labels": [{"label": "fox", "count": 3}]},
    )

    object: Literal["sample_summary"] = "sample_summary"
    job_id: str
    split: str
    count: int
    correct: int
    accuracy: float | None
    mean_loss: float | None
    reported_valid_loss: float | None
    chance_loss: float
    not_finite: int = Field(description="rows whose loss is infinite or not a number")
    loss: LossQuantiles
    share_of_loss_in_worst_tenth: float | None = Field(
        description="share of all loss that the tenth of the photos with the largest losses has"
    )
    left_out: LeftOut = Field(description="none but in an evaluation with label_mapping")


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
