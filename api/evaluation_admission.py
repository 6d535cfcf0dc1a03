"""What can be known to be wrong with an evaluation or a prediction before it is queued."""

from typing import TypeVar

from api.admission import (
    check_dependencies,
    check_inline_dataset,
    check_labelled,
    labels_of,
    parts_of,
)
from api.auth import Caller
from api.device_admission import check_devices
from api.problems import at, from_domain
from api.references import References
from api.services import Services
from jobs.dataset_spec import DatasetSpec
from jobs.datasets import Dataset
from jobs.models import Model
from jobs.spec import EvaluationSpec, PredictionSpec
from ml.theory.errors import LabelsMismatchError
from ml.theory.label_mapping import check_entries, scored_as

Scoring = TypeVar("Scoring", EvaluationSpec, PredictionSpec)


def checked_evaluation(services: Services, caller: Caller, spec: EvaluationSpec) -> EvaluationSpec:
    """The evaluation, which could start now, of the very model that its alias leads to.

    Raises:
        Problem: it could not.
        DatasetNotReadyError: its dataset is not ready.
    """
    model, found = _with_model(services, caller, spec)
    if isinstance(spec.dataset, DatasetSpec):
        check_labelled(spec.dataset)
        _check_labels(spec, model, None)
        return found
    dataset = _ready(services, caller, spec.dataset)
    check_labelled(dataset)
    _check_labels(spec, model, dataset)
    _check_part(spec.split, dataset)
    return found


def checked_prediction(services: Services, caller: Caller, spec: PredictionSpec) -> PredictionSpec:
    """The prediction, which could start now, of the very model that its alias leads to.

    Raises:
        Problem: it could not.
        DatasetNotReadyError: its dataset is not ready.
    """
    _, found = _with_model(services, caller, spec)
    if not isinstance(spec.dataset, DatasetSpec):
        _check_part(spec.split, _ready(services, caller, spec.dataset))
    return found


def _with_model(services: Services, caller: Caller, spec: Scoring) -> tuple[Model, Scoring]:
    """The model, and the spec that names it by its id; an inline dataset is checked, too."""
    named = References(services.database, caller)
    model = named.model("/model", spec.model)
    check_devices(services, spec.devices)
    check_dependencies(named, spec.depends_on)
    if isinstance(spec.dataset, DatasetSpec):
        check_inline_dataset(services, caller, spec.dataset)
    return model, spec.model_copy(update={"model": model.id})


def _ready(services: Services, caller: Caller, dataset_id: str) -> Dataset:
    return References(services.database, caller).ready_dataset("/dataset", dataset_id)


def _check_part(split: str, dataset: Dataset) -> None:
    part = "usable" if split == "all" else split
    if (dataset.counts or {}).get(part, 0) == 0:
        has = parts_of(dataset)
        detail = f"dataset {dataset.id} has no photos in its {split} part; it has {has}"
        raise at("/split", "too_few_images", detail)


def _check_labels(spec: EvaluationSpec, model: Model, dataset: Dataset | None) -> None:
    """Every label has a class; of a dataset that is yet to be imported only the classes count."""
    try:
        if dataset is None:
            check_entries(model.classes, spec.label_mapping)
            return
        class_of = scored_as(labels_of(dataset), model.classes, spec.label_mapping)
    except LabelsMismatchError as misfit:
        raise from_domain(misfit) from misfit
    if all(each is None for each in class_of.values()):
        detail = f"label_mapping leaves out every label of dataset {dataset.id}"
        raise at("/label_mapping", "too_few_images", detail)
