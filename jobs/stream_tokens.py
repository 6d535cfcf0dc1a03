"""Tokens that let a page watch one job: `EventSource` in a browser cannot send a header.

They are kept as their SHA-256, and go with their job.
"""

import hashlib
import secrets

from sqlalchemy import Connection, delete, func, insert, or_, select

from jobs import store, tables
from jobs.database import Database, db_now_ms

VALID_BEHIND_END_MS = 600_000
"""How long after its job's end a token is good: EventSource comes back with the same address."""
_PREFIX = "tst_"


def create(database: Database, job_id: str) -> str:
    """A token for the job's stream, told once.

    Raises:
        NotFoundError: no job has this id.
    """
    token = _PREFIX + secrets.token_urlsafe(32)
    with database.write() as connection:
        store.fetch(connection, job_id)
        _forget_spent(connection)
        connection.execute(
            insert(tables.stream_tokens).values(
                digest=_digest(token), job_id=job_id, created_ms=db_now_ms(connection)
            )
        )
    return token


def opens(database: Database, token: str, job_id: str) -> bool:
    """Whether the token is one for this job, which goes on or has ended only lately."""
    tokens, jobs = tables.stream_tokens.c, tables.jobs.c
    with database.read() as connection:
        oldest_end_ms = db_now_ms(connection) - VALID_BEHIND_END_MS
        query = (
            select(func.count())
            .select_from(tables.stream_tokens.join(tables.jobs, jobs.id == tokens.job_id))
            .where(
                tokens.digest == _digest(token),
                tokens.job_id == job_id,
                or_(jobs.finished_ms.is_(None), jobs.finished_ms >= oldest_end_ms),
            )
        )
        return connection.execute(query).scalar_one() == 1


def _forget_spent(connection: Connection) -> None:
    tokens, jobs = tables.stream_tokens.c, tables.jobs.c
    oldest_end_ms = db_now_ms(connection) - VALID_BEHIND_END_MS
    over = select(jobs.id).where(jobs.finished_ms < oldest_end_ms)
    connection.execute(delete(tables.stream_tokens).where(tokens.job_id.in_(over)))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
