"""Keys that sign the cursors of lists, so that a client can send back none but one it was given.

They are the installation's, not a process's: each API process knows the cursors of the others.
"""

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from jobs import tables
from jobs.database import Database, db_now_ms

SIGNS_FOR_MS = 7 * 86_400_000
"""How long a key signs new cursors."""
KEPT_FOR_MS = 2 * SIGNS_FOR_MS
"""How long a cursor that a key has signed can be sent; afterwards the list is begun again."""


@dataclass(frozen=True, slots=True)
class CursorKey:
    """A name that cursors carry, and the secret that they do not."""

    id: str
    secret: bytes


def signing(database: Database) -> CursorKey:
    """The key for new cursors; it is made where there is none, or none that is young enough."""
    with database.read() as connection:
        key = _newest(connection)
    if key is not None:
        return key
    with database.write() as connection:
        # another process may have been faster
        return _newest(connection) or _create(connection)


def find(database: Database, key_id: str) -> CursorKey | None:
    """The key of this name, unless it has expired or never was."""
    columns = tables.cursor_keys.c
    with database.read() as connection:
        oldest_ms = db_now_ms(connection) - KEPT_FOR_MS
        query = select(columns.secret).where(columns.id == key_id, columns.created_ms > oldest_ms)
        secret = connection.execute(query).scalar_one_or_none()
    return None if secret is None else CursorKey(key_id, bytes.fromhex(secret))


def _newest(connection: Connection) -> CursorKey | None:
    columns = tables.cursor_keys.c
    oldest_ms = db_now_ms(connection) - SIGNS_FOR_MS
    query = (
        select(columns.id, columns.secret)
        .where(columns.created_ms > oldest_ms)
        .order_by(columns.created_ms.desc(), columns.id)
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else CursorKey(row.id, bytes.fromhex(row.secret))


def _create(connection: Connection) -> CursorKey:
    now_ms = db_now_ms(connection)
    key = CursorKey(secrets.token_hex(4), secrets.token_bytes(32))
    columns = tables.cursor_keys.c
    connection.execute(delete(tables.cursor_keys).where(columns.created_ms <= now_ms - KEPT_FOR_MS))
    connection.execute(
        insert(tables.cursor_keys).values(id=key.id, secret=key.secret.hex(), created_ms=now_ms)
    )
    return key
