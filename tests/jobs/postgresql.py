"""A PostgreSQL server for the tests: its own folder, a unix socket, no durability."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import delete

from jobs import tables
from jobs.database import Database

TEMPLATE = "migrated"
_USER = "tunesmith"
_QUICK = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
}


class Server:
    """Makes databases that are migrated already; ``folder`` holds the server's socket."""

    def __init__(self, folder: str, command: Sequence[str], user: int | None) -> None:
        self._folder = folder
        self._command = command
        self._user = user
        self._made = 0
        self._spare: list[str] = []
        self._running = self._started()

    @property
    def pid(self) -> int:
        """The process whose children the server's other ones are."""
        return self._running.pid

    def start(self) -> None:
        """It answers again after `crash`."""
        self._running = self._started()
        _wait_for(self)

    def crash(self) -> None:
        """It has ended without a word, and will recover at its next start."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """It has ended, whoever was connected."""
        self._end(signal.SIGINT)

    def _started(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self._command, user=self._user, cwd=self._folder, stderr=subprocess.DEVNULL
        )

    def _end(self, how: signal.Signals) -> None:
        self._running.send_signal(how)
        self._running.wait()

    def address(self, name: str) -> str:
        """The address of a database of this server, as SQLAlchemy writes it."""
        return f"postgresql+psycopg://{_USER}@/{name}?host={self._folder}"

    def migrated_database(self) -> str:
        """The address of a database at the newest revision without a row."""
        return self._spare.pop() if self._spare else self._create(TEMPLATE)

    def take_back(self, address: str) -> None:
        """The migrated database is empty again for the next test: that is faster than a new one."""
        database = Database(address)
        with database.write() as connection:
            for table in reversed(tables.metadata.sorted_tables):
                connection.execute(delete(table))
        if database.is_current():
            self._spare.append(address)
        database.close()

    def empty_database(self) -> str:
        """The address of a new database without a table."""
        return self._create("template0")

    def _create(self, template: str) -> str:
        self._made += 1
        name = f"test_{self._made}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.address(name)

    def drop(self, address: str) -> None:
        """The database is gone, whoever is still connected."""
        name = address.partition("?")[0].rpartition("/")[2]
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """The server has done what the administrator asks for."""
        address = f"host={self._folder} user={_USER} dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement.encode())


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL programs of this machine; None without any."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((file.parent for file in found), key=_major, default=None)


def _major(folder: Path) -> int:
    return int(folder.parent.name)


@contextmanager
def server(programs: Path, *, listens_at: str = "", is_durable: bool = False) -> Iterator[Server]:
    """A running server with a migrated template; it is stopped and removed at the end.

    ``listens_at`` is an IPv4 address at which anybody in private networks may use it, too. A
    durable one writes as it would outside of tests, and has its default memory.
    """
    # a unix socket's path must stay below about 107 bytes, which pytest's folders may not
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        user = _unprivileged()
        if user is not None:
            os.chown(folder, user, -1)
        data = f"{folder}/data"
        initialise = [f"{programs}/initdb", "-D", data, "-U", _USER, "--auth=trust"]
        subprocess.run(
            [*initialise, "--encoding=UTF8", "--locale=C", "--no-sync"],
            user=user,
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        if listens_at:
            with Path(f"{data}/pg_hba.conf").open("a") as rules:
                rules.write("host all all 10.0.0.0/8 trust\n")
        settings = {
            "listen_addresses": listens_at,
            "unix_socket_directories": folder,
            "max_connections": "300",
            "log_min_messages": "fatal",
            **({} if is_durable else _QUICK),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        made = Server(folder, [f"{programs}/postgres", "-D", data, *options], user)
        try:
            _wait_for(made)
            _migrate_template(made)
            yield made
        finally:
            made.stop()


def _unprivileged() -> int | None:
    """The user the server runs as: it refuses to be root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return names.get("postgres", names["nobody"])


def _wait_for(made: Server) -> None:
    deadline_s = time.monotonic() + 30
    while True:
        try:
            made.execute("SELECT 1")
        except psycopg.OperationalError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
        else:
            return


def _migrate_template(made: Server) -> None:
    made.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
    database = Database(made.address(TEMPLATE))
    database.migrate()
    database.close()
