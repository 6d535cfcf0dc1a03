"""The weight of each class of a dataset, as a fine-tune asks for it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.hyperparameters import BALANCED
from jobs.spec import FineTuneSpec
from ml.photos import LabelledPhoto
from ml.theory.class_weights import balanced
from worker.failures import JobFailedError


def class_weights_of(
    spec: FineTuneSpec, classes: Sequence[str], train: Sequence[LabelledPhoto]
) -> tuple[float, ...] | None:
    """One weight for each class, in their order; None when all weigh the same.

    Raises:
        JobFailedError: the request names a label that the dataset does not have.
    """
    asked = spec.class_weights
    if asked is None:
        return None
    if not isinstance(asked, dict):
        counts = Counter(photo.label for photo in train)
        return balanced([counts[place] for place in range(len(classes))])
    strange = sorted(asked.keys() - set(classes))
    if strange:
        raise JobFailedError(
            "labels_mismatch",
            f"class_weights names {strange[0]!r}, which is no label of the dataset",
            "name labels of the dataset; those left out weigh 1",
        )
    return tuple(asked.get(label, 1.0) for label in classes)


def class_weights_values(
    spec: FineTuneSpec, classes: Sequence[str], weights: Sequence[float] | None
) -> Mapping[str, Any]:
    """The weights by label and who decided them; nothing where there are none."""
    if weights is None:
        return {}
    origin = "dataset" if spec.class_weights == BALANCED else "request"
    by_label = dict(zip(classes, weights, strict=True))
    return {"class_weights": {"value": by_label, "origin": origin}}
