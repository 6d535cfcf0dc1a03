"""What can be known to be wrong with a presizing preview before it is queued."""

from collections.abc import Sequence

from api.admission import check_dependencies, check_inline_dataset, parts_of
from api.auth import Caller
from api.ledger_sql import Filter
from api.problems import FieldProblem, Problem, at
from api.references import References, invalid
from api.services import Services
from jobs.dataset_spec import DatasetSpec
from jobs.datasets import Dataset
from jobs.spec import PresizingPreviewSpec


def checked_presizing_preview(
    services: Services, caller: Caller, spec: PresizingPreviewSpec
) -> PresizingPreviewSpec:
    """The preview, which could start now.

    Raises:
        Problem: it could not.
        DatasetNotReadyError: its dataset is not ready.
    """
    named = References(services.database, caller)
    check_dependencies(named, spec.depends_on)
    if isinstance(spec.dataset, DatasetSpec):
        check_inline_dataset(services, caller, spec.dataset)
        if isinstance(spec.images, list):
            detail = "photos have no ids before their dataset is registered; say how many to draw"
            raise invalid("/images", "not_allowed", detail)
        return spec
    dataset = named.ready_dataset("/dataset", spec.dataset)
    if isinstance(spec.images, list):
        _check_items(services, dataset, spec.images)
    elif (dataset.counts or {}).get("train", 0) == 0:
        detail = f"dataset {dataset.id} has {parts_of(dataset)}; name photos by their ids"
        raise at("/images", "too_few_images", detail)
    return spec


def _check_items(services: Services, dataset: Dataset, item_ids: Sequence[str]) -> None:
    file = services.artifacts.fetched(services.artifacts.items_file(dataset.id))
    marks = ", ".join("?" for _ in item_ids)
    chosen = Filter((f"item_id IN ({marks})",), tuple(item_ids))
    known = {row["item_id"] for row in services.ledgers.select(file, "item_id", chosen)}
    strange = [
        FieldProblem(
            pointer=f"/images/{place}",
            code="not_found",
            detail=f"dataset {dataset.id} has no photo {item_id!r}",
        )
        for place, item_id in enumerate(item_ids)
        if item_id not in known
    ]
    if strange:
        detail = f"{strange[0].detail}; see GET /v1/datasets/{dataset.id}/items"
        raise Problem("validation_failed", detail, errors=strange)
