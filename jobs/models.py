"""Trained models in the database; their files are in the artifact store."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from jobs import tables
from jobs.database import Database
from jobs.errors import NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One trained model; ``path`` is relative to the artifact store, ``digest`` is SHA-256."""

    id: str
    name: str | None
    owner: str
    job_id: str
    dataset_id: str
    architecture: str
    classes: Sequence[str]
    card: Mapping[str, Any]
    path: str
    digest: str
    size_bytes: int
    metadata: Mapping[str, str]
    version: int
    created_ms: int


_FIELDS = tuple(field.name for field in fields(Model))


def add(connection: Connection, model: Model) -> None:
    """The model can be read by clients once the transaction is committed."""
    connection.execute(insert(tables.models).values(**asdict(model)))


def get(database: Database, model_id: str) -> Model:
    """The model with this id.

    Raises:
        NotFoundError: no model has this id.
    """
    query = select(tables.models).where(tables.models.c.id == model_id)
    with database.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError("model", model_id)
    return _model(row)


def made_by(database: Database, job_id: str) -> Model | None:
    """The model that this job has made, if there is one; it stays when the job is deleted."""
    query = select(tables.models).where(tables.models.c.job_id == job_id)
    with database.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _model(row)


def list_models(
    database: Database,
    *,
    dataset_id: str | None,
    after: str | None,
    limit: int,
    owner: str | None = None,
) -> list[Model]:
    """At most ``limit`` models, newest first, beginning behind the id ``after``.

    Without a dataset those trained on any, without an owner those of all.
    """
    columns = tables.models.c
    query = select(tables.models).order_by(columns.id.desc()).limit(limit)
    if dataset_id is not None:
        query = query.where(columns.dataset_id == dataset_id)
    if owner is not None:
        query = query.where(columns.owner == owner)
    if after is not None:
        query = query.where(columns.id < after)
    with database.read() as connection:
        return [_model(row) for row in connection.execute(query)]


def _model(row: Row[Any]) -> Model:
    return Model(**{name: getattr(row, name) for name in _FIELDS})
