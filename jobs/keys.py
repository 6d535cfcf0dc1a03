"""API keys: 256 random bits each, kept as their SHA-256 and told once, when they are made."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, or_, select, update

from jobs import tables
from jobs.database import Database, db_now_ms
from jobs.errors import LastAdminKeyError, NotFoundError
from jobs.ids import new_key_id
from jobs.settings import SettingsError
from jobs.store import LOCAL_OWNER

USES_APART_MS = 60_000
OWNER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
"""The owners that a key may be made for: a name or an address."""
FIRST_ADMIN = "first admin"

_SECRET = re.compile(r"tsk_[A-Za-z0-9_-]{43}")
_SHOWN = 12


class Scope(StrEnum):
    """What a key allows; those that write allow to read, too, and `ADMIN` allows everything."""

    READ = "read"
    JOBS_WRITE = "jobs:write"
    DATASETS_WRITE = "datasets:write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One key without its secret, of which ``prefix`` is the beginning."""

    id: str
    name: str
    owner: str
    scopes: frozenset[Scope]
    prefix: str
    created_ms: int
    last_used_ms: int | None
    expires_ms: int | None
    revoked_ms: int | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made, with the secret that nothing can tell again."""

    key: ApiKey
    secret: str = field(repr=False)


_FIELDS = tuple(each.name for each in fields(ApiKey))


def is_owner(text: str) -> bool:
    """Whether a key can be made for this owner."""
    return re.fullmatch(OWNER_PATTERN, text) is not None


def create(
    connection: Connection,
    *,
    name: str,
    scopes: Collection[Scope],
    owner: str = LOCAL_OWNER,
    expires_ms: int | None = None,
    secret: str | None = None,
) -> NewKey:
    """The key can be used once the transaction is committed; without a secret one is drawn."""
    secret = secret or f"tsk_{secrets.token_urlsafe(32)}"
    key_id = new_key_id()
    connection.execute(
        insert(tables.api_keys).values(
            id=key_id,
            name=name,
            owner=owner,
            scopes=sorted(scopes),
            prefix=secret[:_SHOWN],
            digest=_digest(secret),
            created_ms=db_now_ms(connection),
            expires_ms=expires_ms,
        )
    )
    return NewKey(_fetch(connection, key_id), secret)


def ensure_admin(database: Database, key_file: Path | None) -> NewKey | None:
    """A key with the scope admin is usable; None when there was one before.

    Its secret is the line in the file, or a new one without a file.

    Raises:
        SettingsError: the file cannot be read or its line cannot become a key.
    """
    with database.write() as connection:
        if _usable_admins(connection):
            return None
        secret = None if key_file is None else _secret_in(connection, key_file)
        return create(connection, name=FIRST_ADMIN, scopes={Scope.ADMIN}, secret=secret)


def find(database: Database, secret: str) -> ApiKey | None:
    """The usable key with this secret; None when it is unknown, expired or revoked."""
    # what no key can look like is not worth a query
    if not _SECRET.fullmatch(secret):
        return None
    digest = _digest(secret)
    columns = tables.api_keys.c
    with database.read() as connection:
        query = select(tables.api_keys).where(columns.digest == digest, _usable(connection))
        row = connection.execute(query).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, digest):
        return None
    return _key(row)


def get(database: Database, key_id: str) -> ApiKey:
    """The key as it stands now.

    Raises:
        NotFoundError: no key has this id.
    """
    with database.read() as connection:
        return _fetch(connection, key_id)


def list_keys(database: Database, *, after: str | None = None, limit: int) -> list[ApiKey]:
    """At most ``limit`` keys, newest first, beginning behind the id ``after``."""
    columns = tables.api_keys.c
    query = select(tables.api_keys).order_by(columns.id.desc()).limit(limit)
    if after is not None:
        query = query.where(columns.id < after)
    with database.read() as connection:
        return [_key(row) for row in connection.execute(query)]


def usable_ids(database: Database) -> frozenset[str]:
    """The ids of all keys that are neither revoked nor expired."""
    with database.read() as connection:
        query = select(tables.api_keys.c.id).where(_usable(connection))
        return frozenset(connection.scalars(query))


def note_use(database: Database, key_id: str) -> None:
    """The key was used just now; written down unless that was done within the last minute."""
    columns = tables.api_keys.c
    with database.write() as connection:
        now_ms = db_now_ms(connection)
        before = or_(columns.last_used_ms.is_(None), columns.last_used_ms <= now_ms - USES_APART_MS)
        connection.execute(
            update(tables.api_keys).where(columns.id == key_id, before).values(last_used_ms=now_ms)
        )


def revoke(database: Database, key_id: str) -> ApiKey:
    """The key opens nothing any more, from the next request on; twice changes nothing.

    Raises:
        NotFoundError: no key has this id.
        LastAdminKeyError: no other usable key has the scope admin.
    """
    columns = tables.api_keys.c
    with database.write() as connection:
        admins = _usable_admins(connection)
        key = _fetch(connection, key_id)
        if admins == {key.id}:
            raise LastAdminKeyError(key.id)
        connection.execute(
            update(tables.api_keys)
            .where(columns.id == key.id, columns.revoked_ms.is_(None))
            .values(revoked_ms=db_now_ms(connection))
        )
        return _fetch(connection, key.id)


def _usable_admins(connection: Connection) -> set[str]:
    """Their ids; the rows stay as they are until this transaction ends."""
    columns = tables.api_keys.c
    query = select(columns.id, columns.scopes).where(_usable(connection)).order_by(columns.id)
    rows = connection.execute(query.with_for_update())
    return {row.id for row in rows if Scope.ADMIN in row.scopes}


def _usable(connection: Connection) -> ColumnElement[bool]:
    columns = tables.api_keys.c
    lasts = or_(columns.expires_ms.is_(None), columns.expires_ms > db_now_ms(connection))
    return columns.revoked_ms.is_(None) & lasts


def _secret_in(connection: Connection, key_file: Path) -> str:
    variable = "TUNESMITH_ADMIN_KEY_FILE"
    try:
        secret = key_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{variable}: {key_file} cannot be read: {problem}") from problem
    if not _SECRET.fullmatch(secret):
        raise SettingsError(
            f"{variable}: {key_file} must hold one line, tsk_ and 43 URL-safe characters; make it "
            "with: python3 -c \"import secrets; print('tsk_' + secrets.token_urlsafe(32))\""
        )
    known = select(tables.api_keys.c.id).where(tables.api_keys.c.digest == _digest(secret))
    key_id = connection.execute(known).scalar_one_or_none()
    if key_id is not None:
        raise SettingsError(
            f"{variable}: {key_file} holds the key {key_id}, which is revoked, expired or no "
            "admin key; put a new one in it"
        )
    return secret


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _fetch(connection: Connection, key_id: str) -> ApiKey:
    query = select(tables.api_keys).where(tables.api_keys.c.id == key_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError("API key", key_id)
    return _key(row)


def _key(row: Row[Any]) -> ApiKey:
    values = {name: getattr(row, name) for name in _FIELDS}
    return ApiKey(**values | {"scopes": frozenset(map(Scope, row.scopes))})
