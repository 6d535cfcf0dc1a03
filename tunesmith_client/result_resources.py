"""What jobs leave and models say, as typed objects."""

from tunesmith_client.resources import Json, Page, Resource


class Sample(Resource):
    """One photo of a loss ledger; ``rank`` 1 has the largest loss, which is a cross-entropy."""

    item_id: str
    path: str
    split: str
    label: str
    dataset_label: str
    predicted: str
    correct: bool
    rank: int
    loss: float | None
    p_label: float | None
    p_predicted: float | None
    margin: float | None
    share_of_total_loss: float | None
    breakdown: Json
    loss_by_epoch: list[float | None]
    image: str


class Aggregate(Resource):
    """What the rows of a ledger that match come to; ``chance_loss`` is ln(classes)."""

    count: int
    mean_loss: float | None
    reported_valid_loss: float | None
    chance_loss: float


class PredictionRow(Resource):
    """One photo of a prediction job; ``rank`` 1 is the least sure."""

    item_id: str
    path: str
    split: str
    dataset_label: str | None
    predicted: str
    p_predicted: float
    rank: int


class SamplePage(Page[Sample]):
    """One page of a loss ledger, and what all its rows that match come to."""

    aggregate: Aggregate


class Recommendation(Resource):
    """The rate to use, and how far to trust it; ``confidence`` is low, medium or high."""

    lr: float
    rule: str
    range: tuple[float, float]
    confidence: str
    reasons: list[str]


class LrCurve(Resource):
    """A learning-rate sweep, what each rule reads from it, and the recommendation."""

    job_id: str
    lrs: list[float]
    losses: list[float | None]
    smoothed: list[float | None]
    stopped: str
    suggestions: dict[str, Json | None]
    recommended: Recommendation | None
    warnings: list[Json]


class LossCurve(Resource):
    """A training, column by column: ``steps`` and ``epochs`` have lists of equal length."""

    job_id: str
    count: int
    is_thinned: bool
    steps: Json
    epochs: Json


class Guess(Resource):
    """A class with its softmax ``p`` in [0, 1] and its logit."""

    label: str
    p: float
    logit: float


class Prediction(Resource):
    """What a model says of one photo; of one that cannot be read only ``error`` is there."""

    name: str | None
    top: list[Guess] | None
    logits: list[float] | None
    probabilities: list[float] | None
    error: Json | None
