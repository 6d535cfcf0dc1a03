"""The ledger of losses: one row per photo, and what all rows add up to."""

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
    "predicted_by_epoch": ["beagle", "basset_hound", "basset_hound"],
    "learning": "forgotten",
    "forgetting_events": 1,
    "label_issue_score": 0.998,
    "is_label_issue": True,
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
    predicted_by_epoch: list[str] | None = Field(
        default=None, description="what it was taken for after each epoch of a fine-tune"
    )
    learning: str | None = Field(
        default=None,
        description="over the epochs up to the kept model: learned and flipped end right, "
        "forgotten and never_learned wrong; null without epochs",
    )
    forgetting_events: int | None = Field(
        default=None, description="how often it went from right to wrong"
    )
    label_issue_score: float | None = Field(
        default=None,
        description="from 0 to 1: how little the model believes the label; holds for photos that "
        "it has not learned from",
    )
    is_label_issue: bool | None = Field(
        default=None, description="whether it is one of the labels estimated to be wrong"
    )
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
