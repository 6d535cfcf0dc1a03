"""Whether a database can be trusted: it takes writes, it is whole, it lies on a disk that locks."""

from pathlib import Path

from sqlalchemy import false, text, update
from sqlalchemy.exc import DatabaseError

from jobs import tables
from jobs.database import Database
from jobs.errors import StoreUnavailableError

_FAR_DISKS = frozenset(
    {"afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "lustre", "nfs", "nfs4", "smb3"}
)
_MOUNTS = Path("/proc/self/mounts")


def write_nothing(database: Database) -> None:
    """A transaction that writes has been made, and has changed nothing.

    Raises:
        StoreUnavailableError: the database takes no writes.
    """
    with database.write() as connection:
        connection.execute(update(tables.sweeps).where(false()).values(last_ms=0))


def damage(database: Database) -> str | None:
    """The first fault in the file of an SQLite database; None where there is none, or no file."""
    if database.engine.dialect.name != "sqlite":
        return None
    try:
        with database.read() as connection:
            found = str(connection.execute(text("PRAGMA quick_check(1)")).scalar_one())
    except DatabaseError as problem:
        return str(problem.orig)
    except StoreUnavailableError as problem:
        return str(problem)
    return None if found == "ok" else found


def far_disk(file: Path) -> str | None:
    """The kind of the network's file system that the file lies on; None on a disk of this machine.

    A write-ahead log is shared through memory, which two machines do not have in common, and such
    file systems often do not lock as they say.
    """
    if not _MOUNTS.exists():
        return None
    place, kinds = file.resolve(), {}
    for line in _MOUNTS.read_text().splitlines():
        _, mounted_on, kind, *_ = line.split()
        kinds[Path(mounted_on.replace("\\040", " "))] = kind
    nearest = next((each for each in (place, *place.parents) if each in kinds), None)
    kind = "" if nearest is None else kinds[nearest]
    return kind if kind in _FAR_DISKS else None
