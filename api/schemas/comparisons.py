"""Jobs side by side; every list of values has one entry for each job, in the order of the ids."""

from typing import Any, Literal

from pydantic import Field

from api.schemas.resource import (
    DatasetIdExample,
    ItemIdExample,
    JobIdExample,
    Resource,
    example,
)

_OTHER_JOB = "job_01jd2s4ah2f3kv8m6q0x5w9c7f"


class Spread(Resource):
    """A metric over jobs that differ by their seed alone."""

    count: int
    mean: float | None
    std: float | None = Field(description="sample standard deviation; null of a single job")


class Seeds(Resource):
    """The jobs that differ from this one by their seed alone, itself included."""

    job_ids: list[str] = Field(description="newest first, at most 200")
    valid_loss: Spread
    accuracy: Spread


class ComparedJob(Resource):
    """One of the jobs, and what it came to."""

    id: str
    name: str | None
    type: str
    state: str
    dataset_id: str | None
    model_id: str | None
    valid_loss: float | None = Field(
        description="mean of its loss ledger, or of its last epoch while it runs"
    )
    accuracy: float | None
    seeds: Seeds | None = Field(description="null unless another job differs by its seed alone")


class Difference(Resource):
    """A value that is not the same in all jobs."""

    pointer: str = Field(description="JSON Pointer into hyperparameters, or a name in resolved")
    values: list[Any] = Field(description="null where a job has none")


class AlignedEpochs(Resource):
    """Metrics after the same epochs; each has one list for each job."""

    epoch: list[int]
    train_loss: list[list[float | None]]
    valid_loss: list[list[float | None]]
    accuracy: list[list[float | None]]


class AlignedSteps(Resource):
    """The smoothed training loss after the same steps, one list for each job."""

    step: list[int]
    smoothed: list[list[float | None]]


class AlignedCurves(Resource):
    """Curves on common axes; null where a job has no such epoch or step."""

    epochs: AlignedEpochs
    steps: AlignedSteps


class SideOfSample(Resource):
    """What one job made of a photo."""

    label: str
    predicted: str
    correct: bool
    loss: float | None = Field(description="plain cross-entropy")
    p_label: float | None


class ChangedSample(Resource):
    """A photo in the first job and in another one."""

    item_id: str
    path: str
    loss_change: float | None = Field(description="after less before")
    before: SideOfSample
    after: SideOfSample


class SampleChanges(Resource):
    """What became of the first job's photos in another job."""

    job_id: str
    count: int = Field(description="photos that both have")
    only_before: int = Field(description="photos that only the first job has")
    only_after: int = Field(description="photos that only this job has")
    both_right: int
    both_wrong: int
    fixed: int = Field(description="wrong before, right after")
    broken: int = Field(description="right before, wrong after")
    mean_loss_before: float | None = Field(description="plain, of the photos that both have")
    mean_loss_after: float | None
    fixed_samples: list[ChangedSample] = Field(description="largest fall of the loss first")
    broken_samples: list[ChangedSample] = Field(description="largest rise of the loss first")
    most_changed: list[ChangedSample] = Field(description="largest change of the loss first")


class ComparedSamples(Resource):
    """The photos of one part, joined by their ids."""

    split: str
    baseline: str = Field(description="id of the first job, which `before` is about")
    changes: list[SampleChanges] = Field(description="one entry for each other job")


_SIDE = {"label": "beagle", "predicted": "pug", "correct": False, "loss": 2.3, "p_label": 0.1}
_RIGHT = {"label": "beagle", "predicted": "beagle", "correct": True, "loss": 0.1, "p_label": 0.9}
_CHANGED = {
    "item_id": ItemIdExample,
    "path": "beagle_87.jpg",
    "loss_change": -2.2,
    "before": _SIDE,
    "after": _RIGHT,
}


class Comparison(Resource):
    """Jobs side by side."""

    model_config = example(
        object="comparison",
        jobs=[
            {"id": JobIdExample, "name": "three epochs", "type": "fine_tune", "state": "succeeded",
             "dataset_id": DatasetIdExample, "model_id": None, "valid_loss": 0.42,
             "accuracy": 0.89, "seeds": None},
            {"id": _OTHER_JOB, "name": "six epochs", "type": "fine_tune", "state": "succeeded",
             "dataset_id": DatasetIdExample, "model_id": None, "valid_loss": 0.33,
             "accuracy": 0.92,
             "seeds": {"job_ids": [_OTHER_JOB, "job_01jd2s4ah2f3kv8m6q0x5w9c7g"],
                       "valid_loss": {"count": 2, "mean": 0.34, "std": 0.014},
                       "accuracy": {"count": 2, "mean": 0.915, "std": 0.007}}},
        ],
        hyperparameters=[{"pointer": "/epochs", "values": [3, 6]}],
        resolved=[],
        curves={
            "epochs": {"epoch": [0, 1], "train_loss": [[2.1, None], [2.1, 1.4]],
                       "valid_loss": [[0.42, None], [0.5, 0.33]],
                       "accuracy": [[0.89, None], [0.85, 0.92]]},
            "steps": {"step": [0], "smoothed": [[3.6], [3.6]]},
        },
        samples={
            "split": "valid",
            "baseline": JobIdExample,
            "changes": [
                {"job_id": _OTHER_JOB, "count": 100, "only_before": 0, "only_after": 0,
                 "both_right": 87, "both_wrong": 6, "fixed": 5, "broken": 2,
                 "mean_loss_before": 0.42, "mean_loss_after": 0.33,
                 "fixed_samples": [_CHANGED], "broken_samples": [], "most_changed": [_CHANGED]}
            ],
        },
        without_samples=None,
    )  # fmt: skip

    object: Literal["comparison"] = "comparison"
    jobs: list[ComparedJob]
    hyperparameters: list[Difference] = Field(
        description="what was asked for otherwise; name, metadata and priority do not count"
    )
    resolved: list[Difference] = Field(description="what was used otherwise")
    curves: AlignedCurves
    samples: ComparedSamples | None
    without_samples: str | None = Field(description="why there are no samples")
