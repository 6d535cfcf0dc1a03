"""Which rows of which ledger a query string asks for."""

from typing import Annotated, Literal

from fastapi import Depends, Query

from api.dependencies import JobIdPath, ServicesDep
from api.job_ledger import JobLedger, open_ledger
from api.ledger_sql import SORTABLE, Filter, Order
from api.problems import at
from ml.theory.forgetting import Learning

SplitQuery = Annotated[
    Literal["train", "valid", "test", "all"] | None,
    Query(description="which part; the only one when left out"),
]


def get_ledger(services: ServicesDep, job_id: JobIdPath, split: SplitQuery = None) -> JobLedger:
    """The ledger that the path and the query string name."""
    return open_ledger(services, job_id, split)


LedgerDep = Annotated[JobLedger, Depends(get_ledger)]


def get_filter(  # noqa: PLR0913  (one parameter for each filter of the query string)
    ledger: LedgerDep,
    label: Annotated[str | None, Query(max_length=4096, description="only this class")] = None,
    dataset_label: Annotated[
        str | None, Query(max_length=4096, description="only this label of the dataset")
    ] = None,
    predicted: Annotated[
        str | None, Query(max_length=4096, description="only taken for this class")
    ] = None,
    correct: Annotated[bool | None, Query(description="only right or only wrong ones")] = None,
    min_loss: Annotated[
        float | None, Query(allow_inf_nan=False, description="only losses from here")
    ] = None,
    max_loss: Annotated[
        float | None, Query(allow_inf_nan=False, description="only losses up to here")
    ] = None,
    learning: Annotated[
        Learning | None, Query(description="only those of which this became over the epochs")
    ] = None,
    is_label_issue: Annotated[
        bool | None, Query(description="only labels that are suspect, or only the others")
    ] = None,
) -> Filter:
    """The rows that the query string asks for."""
    equal = {
        "label": label,
        "predicted": predicted,
        "correct": correct,
        "learning": learning,
        "is_label_issue": is_label_issue,
    }
    _check_columns(ledger, [name for name, value in equal.items() if value is not None])
    asked = Filter.of(equal, least=min_loss, most=max_loss)
    if dataset_label is not None:
        asked = asked.also(f"{ledger.dataset_label} = ?", dataset_label)
    within = ledger.within
    return Filter(within.conditions + asked.conditions, within.parameters + asked.parameters)


FilterDep = Annotated[Filter, Depends(get_filter)]


def get_order(
    ledger: LedgerDep,
    sort: Annotated[
        str, Query(max_length=32, description="a column, with - for largest first")
    ] = "-loss",
) -> Order:
    """The order that the query string asks for."""
    allowed = [column for column in SORTABLE if column in ledger.columns]
    try:
        order = Order.parse(sort)
    except ValueError:
        order = None
    if order is None or order.column not in allowed:
        detail = f"sort {sort!r} is no column of the ledger; use {', '.join(allowed)}, or -loss"
        raise at("/query/sort", "validation_failed", detail, allowed=allowed)
    return order


OrderDep = Annotated[Order, Depends(get_order)]


def _check_columns(ledger: JobLedger, names: list[str]) -> None:
    for name in names:
        if name not in ledger.columns:
            detail = (
                f"the ledger of job {ledger.job.id} has no {name}: it is of an earlier version, "
                "or not of a fine-tune"
            )
            raise at(f"/query/{name}", "validation_failed", detail)
