"""Whose a thing is: one look at one column, for the check that comes before everything else."""

from collections.abc import Mapping

from sqlalchemy import Table, select

from jobs import tables
from jobs.database import Database
from jobs.errors import NotFoundError

TABLE_OF: Mapping[str, Table] = {
    "dataset": tables.datasets,
    "job": tables.jobs,
    "model": tables.models,
    "upload": tables.uploads,
    "webhook": tables.webhooks,
}
"""Kind of thing to the table whose column ``owner`` says whose it is."""


def owner_of(database: Database, kind: str, identifier: str) -> str:
    """The owner of the thing with this id; ``kind`` is a key of `TABLE_OF`.

    Raises:
        NotFoundError: there is no such thing.
    """
    columns = TABLE_OF[kind].c
    with database.read() as connection:
        owner = connection.execute(
            select(columns.owner).where(columns.id == identifier)
        ).scalar_one_or_none()
    if owner is None:
        raise NotFoundError(kind, identifier)
    return str(owner)
