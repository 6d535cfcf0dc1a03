"""What can be known to be wrong with an evaluation before it is queued: above all its labels."""

from api.admission import check_dependencies, check_inline_dataset, labels_of, parts_of
from api.auth import Caller
from api.problems import at, from_domain
from api.references import References
from api.services import Services
from jobs.dataset_spec import DatasetSpec
from jobs.datasets import Dataset
from jobs.models import Model
from jobs.spec import EvaluationSpec
from ml.theory.errors import LabelsMismatchError
from ml.theory.label_mapping import check_entries, scored_as


def checked_evaluation(services: Services, caller: Caller, spec: EvaluationSpec) -> EvaluationSpec:
    """The evaluation, which could start now, of the very model that its alias leads to.

    Raises:
        Problem: it could not.
        DatasetNotReadyError: its dataset is not ready.
    """
    named = References(services.database, caller)
    model = named.model("/model", spec.model)
    found = spec.model_copy(update={"model": model.id})
    check_dependencies(named, spec.depends_on)
    if isinstance(spec.dataset, DatasetSpec):
        check_inline_dataset(services, caller, spec.dataset)
        _check_labels(spec, model, None)
        return found
    dataset = named.ready_dataset("/dataset", spec.dataset)
    _check_labels(spec, model, dataset)
    part = "usable" if spec.split == "all" else spec.split
    if (dataset.counts or {}).get(part, 0) == 0:
        raise at(
            "/split",
            "too_few_images",
            f"dataset {dataset.id} has no photos in its {spec.split} part; it has "
            + parts_of(dataset),
        )
    return found


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
