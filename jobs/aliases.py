"""Names such as ``production`` that lead to one model of an owner, and move from model to model.

A move is one transaction: whoever asks finds the model before or the model after, never none.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobs import models, records, tables
from jobs.database import Database, db_now_ms
from jobs.errors import NotFoundError
from jobs.ids import MODEL_PREFIX
from jobs.models import Model

_COLUMNS = tables.model_aliases.c


def named(database: Database, name: str, *, owner: str) -> Model:
    """The model with this id, or the one that this alias of the owner leads to.

    Raises:
        NotFoundError: there is no such model.
    """
    if name.startswith(MODEL_PREFIX):
        return models.get(database, name)
    query = select(_COLUMNS.model_id).where(_COLUMNS.owner == owner, _COLUMNS.alias == name)
    with database.read() as connection:
        model_id = connection.scalar(query)
        if model_id is None:
            raise NotFoundError("model", name)
        return models.fetch(connection, model_id)


def of_models(database: Database, model_ids: Sequence[str]) -> dict[str, list[str]]:
    """Model id -> its aliases, in alphabetical order; models without one are left out."""
    query = (
        select(_COLUMNS.model_id, _COLUMNS.alias)
        .where(_COLUMNS.model_id.in_(model_ids))
        .order_by(_COLUMNS.alias)
    )
    found: dict[str, list[str]] = {}
    with database.read() as connection:
        for model_id, alias in connection.execute(query):
            found.setdefault(model_id, []).append(alias)
    return found


def edit(
    database: Database,
    model_id: str,
    changes: Mapping[str, Any],
    *,
    expected_version: int | None = None,
) -> Model | None:
    """The model with its name, metadata or aliases changed; None when its version was another.

    ``aliases`` are all that it has from now on: those of other models have moved to it, which
    counts as an edit of those models, too.

    Raises:
        NotFoundError: no model has this id.
    """
    while True:
        # a rival may have made the same alias in this moment; then it is there to be moved
        with contextlib.suppress(IntegrityError), database.write() as connection:
            locked = _locked(connection, model_id, changes.get("aliases") or ())
            if locked is not None:
                return _edited(connection, locked, changes, expected_version)


def _edited(
    connection: Connection,
    locked: "_Locked",
    changes: Mapping[str, Any],
    expected_version: int | None,
) -> Model | None:
    model, wanted = locked.model, changes.get("aliases")
    if expected_version is not None and model.version != expected_version:
        return None
    if wanted is not None:
        _give(connection, locked, sorted(set(wanted)))
    losers = [] if wanted is None else set(locked.holder_of.values()) - {model.id}
    _count_edit(connection, [model.id, *losers])
    values = {name: value for name, value in changes.items() if name != "aliases"}
    if values:
        columns = tables.models.c
        connection.execute(update(tables.models).where(columns.id == model.id).values(**values))
    return models.fetch(connection, model.id)


@dataclass(frozen=True, slots=True)
class _Locked:
    """A model, and who holds the aliases that it is to have; nobody else changes any of them."""

    model: Model
    holder_of: Mapping[str, str]


def _locked(connection: Connection, model_id: str, wanted: Sequence[str]) -> _Locked | None:
    """None when an alias moved while its holder was being locked.

    Jobs are locked before models, models before aliases, each in order, so that nobody waits for
    somebody who waits for them: a model that is deleted locks its job first, too.
    """
    model = models.fetch(connection, model_id)
    held = (
        select(_COLUMNS.alias, _COLUMNS.model_id)
        .where(_COLUMNS.owner == model.owner, _COLUMNS.alias.in_(wanted))
        .order_by(_COLUMNS.alias)
    )
    chosen = {model.id, *(row.model_id for row in connection.execute(held))}
    columns, jobs = tables.models.c, tables.jobs.c.id
    makers = select(columns.job_id).where(columns.id.in_(chosen))
    _lock(connection, select(jobs).where(jobs.in_(makers)).order_by(jobs))
    _lock(connection, select(columns.id).where(columns.id.in_(chosen)).order_by(columns.id))
    holder_of = {
        row.alias: row.model_id for row in connection.execute(held.with_for_update()).all()
    }
    if not chosen.issuperset(holder_of.values()):
        return None
    return _Locked(models.fetch(connection, model_id), holder_of)


def _lock(connection: Connection, rows: Select[Any]) -> None:
    connection.execute(rows.with_for_update()).all()


def _give(connection: Connection, locked: _Locked, wanted: Sequence[str]) -> None:
    """Exactly these aliases lead to the model."""
    model, moved_ms = locked.model, db_now_ms(connection)
    connection.execute(
        delete(tables.model_aliases).where(
            _COLUMNS.model_id == model.id, _COLUMNS.alias.not_in(wanted)
        )
    )
    moving = [alias for alias, holder in locked.holder_of.items() if holder != model.id]
    connection.execute(
        update(tables.model_aliases)
        .where(_COLUMNS.owner == model.owner, _COLUMNS.alias.in_(moving))
        .values(model_id=model.id, moved_ms=moved_ms)
    )
    for alias in wanted:
        if alias not in locked.holder_of:
            row = {"owner": model.owner, "alias": alias, "model_id": model.id}
            connection.execute(insert(tables.model_aliases).values(**row, moved_ms=moved_ms))


def _count_edit(connection: Connection, model_ids: Sequence[str]) -> None:
    columns = tables.models.c
    chosen = columns.id.in_(model_ids)
    records.outdate(connection, list(connection.scalars(select(columns.job_id).where(chosen))))
    connection.execute(update(tables.models).where(chosen).values(version=columns.version + 1))
