"""The ledger of losses in a few numbers."""

from typing import Literal

from pydantic import Field

from api.schemas.resource import JobIdExample, Resource, example


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


class LeftOutPhotos(Resource):
    """The photos that an evaluation did not score, because label_mapping says so."""

    count: int
    labels: list[LabelCount] = Field(description="of the dataset, in the order of their names")


class HardClass(Resource):
    """A class and what its photos cost."""

    label: str
    count: int
    correct: int
    mean_loss: float | None
    share_of_total_loss: float | None


class LearningCounts(Resource):
    """How many photos became what over the epochs; the first two end right."""

    learned: int = Field(default=0, description="ends right and was never forgotten")
    flipped: int = Field(default=0, description="ends right, and was forgotten in between")
    forgotten: int = Field(default=0, description="was right once and ends wrong")
    never_learned: int = Field(default=0, description="was never right")


class LabelIssueCount(Resource):
    """How many labels are probably wrong."""

    count: int = Field(description="estimated from the probabilities; filter by is_label_issue")
    is_out_of_sample: bool | None = Field(
        description="whether the model has learned from none of these photos, without which the "
        "estimate is too low; null for photos of another dataset or where the model is gone"
    )


class CalibrationBin(Resource):
    """The photos whose largest probability is above `lower` and at most `upper`."""

    lower: float
    upper: float
    count: int
    confidence: float | None = Field(description="mean of their largest probabilities")
    accuracy: float | None = Field(description="share of them that is right")


class Calibration(Resource):
    """Whether the model is as often right as it is sure (Guo et al. 2017)."""

    expected_error: float = Field(
        description="mean of |accuracy - confidence| over the bins, weighted by their counts"
    )
    bins: list[CalibrationBin] = Field(description="15 of equal width")
    temperature: float | None = Field(
        description="logits divided by it have the smallest loss; above 1 the model is too sure. "
        "Fitted on these very photos. Null where none is best, as of a model that is always right"
    )
    loss: float = Field(description="without label smoothing and class weights")
    loss_with_temperature: float | None
    expected_error_with_temperature: float | None


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
        hardest_classes=[
            {
                "label": "beagle",
                "count": 40,
                "correct": 31,
                "mean_loss": 0.91,
                "share_of_total_loss": 0.0744,
            }
        ],
        learning={"learned": 1290, "flipped": 71, "forgotten": 68, "never_learned": 49},
        label_issues={"count": 21, "is_out_of_sample": True},
        calibration={
            "expected_error": 0.041,
            "bins": [
                {
                    "lower": 0.9333,
                    "upper": 1.0,
                    "count": 1177,
                    "confidence": 0.987,
                    "accuracy": 0.951,
                }
            ],
            "temperature": 1.34,
            "loss": 0.331,
            "loss_with_temperature": 0.302,
            "expected_error_with_temperature": 0.012,
        },
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
    hardest_classes: list[HardClass] = Field(description="largest mean loss first, at most 5")
    learning: LearningCounts | None = Field(
        description="of a fine-tune; null of ledgers of earlier versions"
    )
    label_issues: LabelIssueCount | None = Field(description="null of ledgers of earlier versions")
    calibration: Calibration | None = Field(
        description="null where a logit is not finite, and of ledgers of earlier versions"
    )
    left_out: LeftOutPhotos = Field(description="none but in an evaluation with label_mapping")
