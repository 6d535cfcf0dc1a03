"""Which installation a command on the database and the files is about.

It is the stack of a data folder, running or not, or what the environment describes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from cli.folder_lock import holder
from cli.redis_server import running_redis
from jobs.database import Database
from jobs.errors import StoreUnavailableError
from jobs.settings import DEFAULT_DATA_DIR, Settings, load_settings

_WHERE_THINGS_ARE = frozenset({"database_url", "redis_url", "artifacts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One installation.

    Attributes:
        settings: its settings; the address of Redis counts only where ``has_redis``.
        data_dir: the folder of its stack; None where each part was started by itself.
        up_pid: the `tunesmith up` that runs on the folder, if one does.
        has_redis: whether there can be a Redis: that of a stack comes and goes with it.
    """

    settings: Settings
    data_dir: Path | None = None
    up_pid: int | None = None
    has_redis: bool = True

    @property
    def is_down(self) -> bool:
        """Whether it is a stack that does not run."""
        return self.data_dir is not None and self.up_pid is None


def installation(data_dir: Path | None) -> Installation:
    """The stack of this folder; without one, that of the default folder or the environment's.

    Raises:
        SettingsError: an environment variable has a wrong value.
    """
    settings = load_settings()
    if data_dir is None and settings.model_fields_set & _WHERE_THINGS_ARE:
        return Installation(settings=settings)
    folder = (data_dir or DEFAULT_DATA_DIR).expanduser().absolute()
    pid = holder(folder)
    redis_url = None if pid is None else running_redis(folder / "run", pid)
    return Installation(
        settings=load_settings(
            database_url=f"sqlite:///{folder}/tunesmith.db",
            artifacts=folder / "artifacts",
            **({} if redis_url is None else {"redis_url": redis_url}),
        ),
        data_dir=folder,
        up_pid=pid,
        has_redis=redis_url is not None,
    )


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The database, which is there and at the revision of this version.

    Raises:
        StoreUnavailableError: it is not.
    """
    require_file(settings)
    database = Database(settings.database_url)
    try:
        if not database.is_current():
            raise StoreUnavailableError(
                "the database is not at the revision of this version; run `tunesmith migrate`"
            )
        yield database
    finally:
        database.close()


def require_file(settings: Settings) -> None:
    """The file of an SQLite database exists: to open it would make an empty one.

    Raises:
        StoreUnavailableError: it does not.
    """
    file = sqlite_file(settings)
    if file is not None and not file.is_file():
        raise StoreUnavailableError(
            f"there is no database {file}; `tunesmith up` and `tunesmith migrate` make one"
        )


def sqlite_file(settings: Settings) -> Path | None:
    """The file that the database is; None where it is a server."""
    url = make_url(settings.database_url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
