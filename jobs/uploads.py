"""Uploaded archives: a row for each, and a file that equal ones share as links.

Each upload has a name of its own in the artifact store, and equal ones are hard links to the same
bytes. So the file system counts who still needs them, and a deletion can never meet an upload of
the same bytes half-way.
"""

import contextlib
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from jobs import tables
from jobs.artifacts import Artifacts
from jobs.database import Database, db_now_ms
from jobs.errors import NotFoundError, UploadInUseError
from jobs.ids import new_upload_id

_EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An archive as it came; ``digest`` is the SHA-256 of its bytes, hexadecimal."""

    filename: str | None
    format: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload(Received):
    """One upload; ``used_ms`` is when it came or was last imported."""

    id: str
    owner: str
    created_ms: int
    used_ms: int


_FIELDS = tuple(field.name for field in fields(Upload))


def keep(database: Database, artifacts: Artifacts, arrived: Path, received: Received) -> str:
    """The arrived file is that of a new upload's id, which is returned; no row names it yet.

    The bytes are kept once in a folder, whoever sent them before. ``arrived`` is on the disk, and
    is gone afterwards.
    """
    upload_id = new_upload_id()
    file = artifacts.upload_file(upload_id)
    _put(database, artifacts, arrived, received.digest, file)
    artifacts.store.keep([file])
    return upload_id


def _put(database: Database, artifacts: Artifacts, arrived: Path, digest: str, file: Path) -> None:
    for known in _with_bytes(database, digest):
        # that one may be deleted at this moment, or have as many links as can be
        with contextlib.suppress(OSError):
            os.link(artifacts.upload_file(known), file)
            arrived.unlink()
            return
    arrived.rename(file)


def add(connection: Connection, upload_id: str, received: Received, *, owner: str) -> Upload:
    """The upload can be imported once the transaction is committed."""
    now_ms = db_now_ms(connection)
    upload = Upload(
        **asdict(received), id=upload_id, owner=owner, created_ms=now_ms, used_ms=now_ms
    )
    connection.execute(insert(tables.uploads).values(**asdict(upload)))
    return upload


def get(database: Database, upload_id: str) -> Upload:
    """The upload with this id.

    Raises:
        NotFoundError: no upload has this id.
    """
    with database.read() as connection:
        return _fetch(connection, upload_id)


def list_uploads(
    database: Database, *, after: str | None, limit: int, owner: str | None = None
) -> list[Upload]:
    """At most ``limit`` uploads, newest first, beginning behind the id ``after``.

    Without an owner those of all.
    """
    columns = tables.uploads.c
    query = select(tables.uploads).order_by(columns.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(columns.owner == owner)
    if after is not None:
        query = query.where(columns.id < after)
    with database.read() as connection:
        return [_upload(row) for row in connection.execute(query)]


def use(connection: Connection, upload_id: str) -> None:
    """The upload counts as used now, and stays until the transaction has ended.

    Raises:
        NotFoundError: no upload has this id.
    """
    _fetch(connection, upload_id, lock=True)
    connection.execute(
        update(tables.uploads)
        .where(tables.uploads.c.id == upload_id)
        .values(used_ms=db_now_ms(connection))
    )


def delete_upload(database: Database, artifacts: Artifacts, upload_id: str) -> None:
    """The upload is gone; datasets that were imported from it keep their photos.

    Raises:
        NotFoundError: no upload has this id.
        UploadInUseError: a dataset that is importing needs it.
    """
    with database.write() as connection:
        _fetch(connection, upload_id, lock=True)
        users = _importing(connection, upload_id)
        if users:
            raise UploadInUseError(upload_id, users[:_EXAMPLES])
        connection.execute(delete(tables.uploads).where(tables.uploads.c.id == upload_id))
    artifacts.remove(artifacts.upload_file(upload_id))


def unused(database: Database, *, keep_s: float) -> list[Upload]:
    """Uploads that nobody has used for so many seconds, and that nothing imports."""
    columns = tables.uploads.c
    with database.read() as connection:
        query = select(tables.uploads).where(columns.used_ms < _before_ms(connection, keep_s))
        old = [_upload(row) for row in connection.execute(query)]
        return [upload for upload in old if not _importing(connection, upload.id)]


def delete_unused(
    database: Database, artifacts: Artifacts, upload_id: str, *, keep_s: float
) -> bool:
    """Whether the upload is gone; one that was used since then stays."""
    with database.write() as connection:
        try:
            upload = _fetch(connection, upload_id, lock=True)
        except NotFoundError:
            return False
        is_used = upload.used_ms >= _before_ms(connection, keep_s)
        if is_used or _importing(connection, upload_id):
            return False
        connection.execute(delete(tables.uploads).where(tables.uploads.c.id == upload_id))
    artifacts.remove(artifacts.upload_file(upload_id))
    return True


def _before_ms(connection: Connection, keep_s: float) -> int:
    return db_now_ms(connection) - int(keep_s * 1000)


def _with_bytes(database: Database, digest: str) -> list[str]:
    columns = tables.uploads.c
    query = select(columns.id).where(columns.digest == digest).order_by(columns.id.desc()).limit(5)
    with database.read() as connection:
        return list(connection.scalars(query))


def _importing(connection: Connection, upload_id: str) -> list[str]:
    columns = tables.datasets.c
    query = select(columns.id, columns.spec).where(
        # a version is made of its parent's photos
        columns.state == "importing",
        columns.parent_id.is_(None),
    )
    return [
        row.id
        for row in connection.execute(query)
        if row.spec["source"].get("upload_id") == upload_id
    ]


def _fetch(connection: Connection, upload_id: str, *, lock: bool = False) -> Upload:
    query = select(tables.uploads).where(tables.uploads.c.id == upload_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFoundError("upload", upload_id)
    return _upload(row)


def _upload(row: Row[Any]) -> Upload:
    return Upload(**{name: getattr(row, name) for name in _FIELDS})
