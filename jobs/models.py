"""Trained models in the database; their files are in the artifact store."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, or_, select

from jobs import records, tables
from jobs.database import Database
from jobs.errors import ModelInUseError, NotFoundError
from jobs.job import FINAL_STATES, JobType


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFilter:
    """Which models a list shows; None means any."""

    dataset_id: str | None = None
    name: str | None = None
    alias: str | None = None
    owner: str | None = None


_EXAMPLES = 5
_FIELDS = tuple(field.name for field in fields(Model))


def add(connection: Connection, model: Model) -> None:
    """The model can be read by clients once the transaction is committed."""
    connection.execute(insert(tables.models).values(**asdict(model)))


def get(database: Database, model_id: str) -> Model:
    """The model with this id.

    Raises:
        NotFoundError: no model has this id.
    """
    with database.read() as connection:
        return fetch(connection, model_id)


def fetch(connection: Connection, model_id: str, *, lock: bool = False) -> Model:
    """The model as this transaction sees it; ``lock`` lets nobody delete it until its end.

    Raises:
        NotFoundError: no model has this id.
    """
    query = select(tables.models).where(tables.models.c.id == model_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
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
    chosen: ModelFilter,
    *,
    after: str | None,
    limit: int,
) -> list[Model]:
    """At most ``limit`` models, newest first, beginning behind the id ``after``."""
    columns = tables.models.c
    query = select(tables.models).order_by(columns.id.desc()).limit(limit)
    for name in ("dataset_id", "name", "owner"):
        value = getattr(chosen, name)
        if value is not None:
            query = query.where(columns[name] == value)
    if chosen.alias is not None:
        aliases = tables.model_aliases.c
        query = query.where(
            columns.id.in_(select(aliases.model_id).where(aliases.alias == chosen.alias))
        )
    if after is not None:
        query = query.where(columns.id < after)
    with database.read() as connection:
        return [_model(row) for row in connection.execute(query)]


def delete_model(database: Database, model_id: str) -> Model:
    """The model is gone; the job that made it, and those that used it, stay and keep its id.

    Raises:
        NotFoundError: no model has this id.
        ModelInUseError: a job that is not finished needs it, or an alias leads to it.
    """
    columns = tables.jobs.c
    with database.write() as connection:
        maker_id = fetch(connection, model_id).job_id
        # who submits a job that begins with this one's model has locked it, too
        connection.execute(select(columns.id).where(columns.id == maker_id).with_for_update())
        model = fetch(connection, model_id, lock=True)
        needy = select(columns.id).where(_needs(model)).order_by(columns.id).limit(_EXAMPLES)
        users = list(connection.scalars(needy))
        aliases = tables.model_aliases.c
        names = connection.scalars(
            select(aliases.alias).where(aliases.model_id == model_id).order_by(aliases.alias)
        )
        users += [f"the alias {name!r}" for name in names]
        if users:
            raise ModelInUseError(model_id, users)
        connection.execute(delete(tables.models).where(tables.models.c.id == model_id))
        records.outdate(connection, [maker_id])
        return model


def _needs(model: Model) -> ColumnElement[bool]:
    """The condition, on rows of ``jobs``, that the job is not finished and needs the model."""
    columns = tables.jobs.c
    return and_(
        columns.state.not_in([state.value for state in FINAL_STATES]),
        or_(
            and_(
                columns.type.in_([JobType.EVALUATION.value, JobType.PREDICTION.value]),
                columns.spec["model"].as_string() == model.id,
            ),
            and_(
                columns.type.in_([JobType.FINE_TUNE.value, JobType.LR_FIND.value]),
                or_(
                    columns.spec[("weights", "model")].as_string() == model.id,
                    columns.spec[("weights", "from_job")].as_string() == model.job_id,
                ),
            ),
        ),
    )


def _model(row: Row[Any]) -> Model:
    return Model(**{name: getattr(row, name) for name in _FIELDS})
