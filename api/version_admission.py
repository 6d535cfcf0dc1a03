"""What can be known to be wrong with a version of a dataset before it is queued: nearly all."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from api.admission import labels_of
from api.auth import Caller, forbidden
from api.ledger_sql import Filter
from api.problems import FieldProblem, Problem, at
from api.references import References
from api.services import Services
from jobs.datasets import Dataset
from jobs.keys import Scope
from jobs.version_spec import VersionOf
from ml.theory.parts import PARTS, shortage_of

_MOST_ERRORS = 100

Rows = Mapping[str, Mapping[str, Any]]
"""Item id to label, part and whether it can be used, of the photos that the changes name."""


def check_version(services: Services, caller: Caller, asked: VersionOf) -> None:
    """The version could be made now, and the caller may have it made.

    Raises:
        Problem: it could not, or the caller may not.
        DatasetNotReadyError: the parent has no photos (yet).
    """
    if not caller.may(Scope.DATASETS_WRITE):
        raise forbidden(Scope.DATASETS_WRITE)
    parent = References(services.database, caller).ready_dataset("/parent", asked.parent)
    if not asked.relabel and not asked.exclude:
        raise at("", "validation_failed", "nothing to change; send relabel or exclude")
    rows = _rows(services, asked)
    strange = [*_twice(asked), *_unknown(parent, asked, rows), *_in_vain(asked, rows)]
    if strange:
        more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
        detail = f"{strange[0].pointer}: {strange[0].detail}{more}"
        raise Problem("validation_failed", detail, errors=strange[:_MOST_ERRORS])
    _check_enough(parent, asked, rows)


def _rows(services: Services, asked: VersionOf) -> Rows:
    named = [*asked.exclude, *(each.item for each in asked.relabel)]
    rows = services.ledgers.select(
        services.artifacts.fetched(services.artifacts.items_file(asked.parent)),
        "item_id, label, split, usable, reason",
        Filter(("item_id IN (SELECT unnest(?::VARCHAR[]))",), (named,)),
    )
    return {row["item_id"]: row for row in rows}


def _named(asked: VersionOf) -> Iterator[tuple[str, str]]:
    """Where in the body each photo is named, and its id."""
    for place, each in enumerate(asked.relabel):
        yield f"/relabel/{place}/item", each.item
    for place, item_id in enumerate(asked.exclude):
        yield f"/exclude/{place}", item_id


def _twice(asked: VersionOf) -> Iterator[FieldProblem]:
    first: dict[str, str] = {}
    for pointer, item_id in _named(asked):
        if first.setdefault(item_id, pointer) != pointer:
            detail = f"photo {item_id!r} is named at {first[item_id]} already; name it once"
            yield FieldProblem(pointer=pointer, code="invalid", detail=detail)


def _unknown(parent: Dataset, asked: VersionOf, rows: Rows) -> Iterator[FieldProblem]:
    for pointer, item_id in _named(asked):
        if item_id not in rows:
            where = f"see GET /v1/datasets/{parent.id}/items"
            detail = f"dataset {parent.id} has no photo {item_id!r}; {where}"
            yield FieldProblem(pointer=pointer, code="not_found", detail=detail)


def _in_vain(asked: VersionOf, rows: Rows) -> Iterator[FieldProblem]:
    for place, each in enumerate(asked.relabel):
        row = rows.get(each.item)
        if row is None:
            continue
        if not row["usable"]:
            detail = f"photo {each.item!r} cannot be used, whatever its label: {row['reason']}"
            yield FieldProblem(pointer=f"/relabel/{place}/item", code="not_allowed", detail=detail)
        elif row["label"] == each.label:
            detail = f"photo {each.item!r} has the label {each.label!r} already"
            yield FieldProblem(pointer=f"/relabel/{place}/label", code="not_allowed", detail=detail)


def _check_enough(parent: Dataset, asked: VersionOf, rows: Rows) -> None:
    if not parent.classes:
        _check_unlabelled(parent, asked, rows)
        return
    classes, train = Counter(labels_of(parent)), (parent.counts or {}).get("train", 0)
    for each in asked.relabel:
        if rows[each.item]["split"] is not None:
            classes[str(rows[each.item]["label"])] -= 1
            classes[each.label] += 1
    for item_id in asked.exclude:
        if rows[item_id]["split"] is not None:
            classes[str(rows[item_id]["label"])] -= 1
            train -= rows[item_id]["split"] == "train"
    lack = shortage_of(+classes, train)
    if lack is not None:
        pointer = "/exclude" if asked.exclude else "/relabel"
        raise at(pointer, lack.code, f"{lack.message}; {lack.remedy}")


def _check_unlabelled(parent: Dataset, asked: VersionOf, rows: Rows) -> None:
    if asked.relabel:
        detail = (
            f"dataset {parent.id} has no labels; register its photos again with a rule that "
            "labels them all"
        )
        raise at("/relabel", "validation_failed", detail)
    used = sum((parent.counts or {}).get(part, 0) for part in PARTS)
    if sum(row["split"] is not None for row in rows.values()) == used:
        raise at("/exclude", "too_few_images", f"no photo of dataset {parent.id} would be left")
