"""Predictions of the photos of a dataset."""

from pydantic import Field

from api.schemas.resource import ItemIdExample, ListOf, Resource, example

_ROW = {
    "item_id": ItemIdExample,
    "path": "unknown_87.jpg",
    "split": "train",
    "dataset_label": "unknown",
    "predicted": "basset_hound",
    "p_predicted": 0.31,
    "rank": 1,
    "logits": None,
    "probabilities": None,
}


class PredictionRow(Resource):
    """One photo."""

    model_config = example(**_ROW)

    item_id: str
    path: str
    split: str
    dataset_label: str | None = Field(
        description="what the dataset calls it; it counts for nothing"
    )
    predicted: str
    p_predicted: float = Field(description="probability of the predicted class")
    rank: int = Field(description="1 is the least sure")
    logits: dict[str, float] | None = Field(description="of all classes, with expand")
    probabilities: dict[str, float] | None = Field(description="of all classes, with expand")


class PredictionList(ListOf[PredictionRow]):
    """One page of predictions."""

    model_config = example(
        object="list",
        data=[_ROW],
        has_more=False,
        next_cursor=None,
        counts={"basset_hound": 1, "beagle": 0},
    )

    counts: dict[str, int] = Field(
        description="photos of the whole job taken for each class, in the order of the outputs"
    )
