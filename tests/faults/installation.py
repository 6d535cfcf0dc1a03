"""A whole installation as processes of its own, so that a test can kill, freeze and wipe them.

Unlike `tunesmith up` it starts again whatever died, at once and however often.
"""

import contextlib
import ctypes
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx

from cli.redis_server import free_port, redis_command
from jobs.database import Database
from jobs.queue import redis_client
from jobs.settings import Settings, child_environment, load_settings

READY_WITHIN_S = 120.0
_LOOK_S = 0.02
_END_WITHIN_S = 20.0
_LOG_LINES = 40
_PR_SET_PDEATHSIG = 1
_T = TypeVar("_T")

QUICK = {
    "lease_s": 2.0,
    "renew_s": 0.4,
    "sweep_s": 0.5,
    "look_s": 0.5,
    "checkpoint_s": 0.2,
    "cancel_grace_s": 10.0,
}
"""What lets a fault be noticed in seconds rather than in half a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Which processes an installation has beside Redis and its API."""

    trains: int = 1
    prepares: int = 1
    worker: str = "worker.app"
    """The module that a worker runs."""
    through: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Commands that members of these names are started by, such as into another namespace."""
    own: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Settings that members of these names alone have."""


@dataclass(slots=True)
class Member:
    """One process of the installation, through all its lives."""

    name: str
    arguments: tuple[str, ...]
    log_file: Path
    environment: dict[str, str]
    is_wanted: bool = True
    lives: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process of its present life."""
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs, or is frozen."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """It runs in a session of its own, and ends with us."""
        self.lives += 1
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )


@dataclass(frozen=True, slots=True)
class Trainer:
    """A trainer that runs now, and the attempt that it makes."""

    pid: int
    job_id: str
    fence: int


@dataclass(slots=True)
class Installation:
    """Redis, an API and workers on one folder; a thread starts again those that died.

    Use it as a context manager: at its end no process is left.
    """

    folder: Path
    settings: Settings
    redis: tuple[str, ...]
    """The command line of its Redis."""
    roster: Roster = field(default_factory=Roster)
    members: dict[str, Member] = field(default_factory=dict)
    _ending: threading.Event = field(default_factory=threading.Event)
    _tending: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Everything runs and the API is ready."""
        database = self.database()
        database.migrate()
        database.close()
        self._add("redis", *self.redis)
        self._add("api", sys.executable, "-m", "api.main")
        for queue, count in (("train", self.roster.trains), ("prepare", self.roster.prepares)):
            for number in range(count):
                command = (sys.executable, "-m", self.roster.worker, "--queue", queue)
                self._add(f"{queue}-{number}", *command)
        self._tending = threading.Thread(target=self._tend, name="tending")
        self._tending.start()
        wait_until(self.is_ready, "the API is ready", within_s=READY_WITHIN_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Every process has ended; its last lines are there for a test that failed."""
        self._ending.set()
        for member in self.members.values():
            if member.is_alive:
                for pid in tree_of(member.pid):
                    send(pid, signal.SIGCONT)
        redis, *others = self.members.values()
        for group in (others, [redis]):
            _end(group)
        # last of all, or the kernel would think that the parent of the children has ended
        if self._tending is not None:
            self._tending.join()
        for member in self.members.values():
            lines = member.log_file.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            print(f"--- {member.name}, {member.lives} lives", *lines, sep="\n")  # noqa: T201

    def database(self) -> Database:
        """A connection of the test's own."""
        return Database(self.settings.database_url)

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.settings.port}"

    def is_ready(self) -> bool:
        """Whether the API answers that it is."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def kill(self, name: str) -> None:
        """The member has got SIGKILL; it is started again."""
        self.members[name].process.kill()  # type: ignore[union-attr]  # it was started

    def away(self, name: str) -> None:
        """The member has got SIGKILL and stays away until it is wanted again."""
        self.members[name].is_wanted = False
        self.kill(name)

    def frozen(self, name: str, *, with_descendants: bool = True) -> "Frozen":
        """The member, and unless it is to be alone all its descendants, do nothing in the block.

        None of them is in the middle of a write to an SQLite file, which nobody else could write
        to either: that is a fault of its own.
        """
        pid = self.members[name].pid
        pids = [pid, *sorted(tree_of(pid) - {pid})] if with_descendants else [pid]
        file = self.folder / "tunesmith.db"
        return Frozen(pids, keep_out=file if "sqlite" in self.settings.database_url else None)

    def name_of_worker(self, worker_id: str | None) -> str | None:
        """The member that calls itself so in the database, if it is in that life still."""
        for name, member in self.members.items():
            if member.is_alive and str(worker_id).endswith(f":{member.pid}"):
                return name
        return None

    def template_of(self, name: str) -> int:
        """The process that the worker's trainers are forked from."""
        pid = self.members[name].pid
        (template,) = (
            child
            for child, parent in _parents().items()
            if parent == pid
            and b"multiprocessing.forkserver" in Path(f"/proc/{child}/cmdline").read_bytes()
        )
        return template

    def flush(self) -> None:
        """Redis has forgotten everything, if it answers."""
        client = redis_client(self.settings.redis_url)
        with contextlib.suppress(Exception):
            client.flushall()
        client.close()

    def trainers(self) -> list[Trainer]:
        """The trainers that have begun, of every worker."""
        jobs = f"{self.settings.artifacts}/jobs/"
        return [
            Trainer(pid=pid, job_id=Path(log).parts[-3], fence=int(Path(log).parts[-2][1:]))
            for pid, log in _outputs()
            if log.startswith(jobs)
        ]

    def log_of(self, name: str) -> str:
        """What the member has written."""
        return self.members[name].log_file.read_text(errors="replace")

    def _add(self, name: str, *arguments: str) -> None:
        settings = self.settings.model_copy(update=self.roster.own.get(name, {}))
        member = Member(
            name=name,
            arguments=(*self.roster.through.get(name, ()), *arguments),
            log_file=self.folder / f"{name}.log",
            environment=child_environment(settings),
        )
        self.members[name] = member

    def _tend(self) -> None:
        while not self._ending.is_set():
            for member in self.members.values():
                if member.is_wanted and not member.is_alive:
                    member.start()
            self._ending.wait(_LOOK_S)
        # the parent of a child, for the kernel, is the thread that started it
        while any(member.is_alive for member in self.members.values()):
            time.sleep(_LOOK_S)


class Frozen:
    """Processes that are stopped inside a block."""

    def __init__(self, pids: list[int], *, keep_out: Path | None = None) -> None:
        """``pids`` begin with the parent, which must not see what becomes of its children.

        None of them is frozen while it writes to the SQLite file ``keep_out``.
        """
        self._pids = pids
        self._keep_out = keep_out

    def __enter__(self) -> Self:
        """They do nothing."""
        with nullcontext() if self._keep_out is None else locked(self._keep_out):
            for pid in self._pids:
                send(pid, signal.SIGSTOP)
            # a signal takes effect a little later, when the process is scheduled
            wait_until(lambda: not set(self._pids) & _awake(), "they are frozen")
        return self

    def __exit__(self, *_: object) -> None:
        """They go on."""
        for pid in reversed(self._pids):
            send(pid, signal.SIGCONT)


def installed(folder: Path, roster: Roster | None = None, **changes: object) -> Installation:
    """An installation on the folder, not started; ``changes`` are settings."""
    redis = redis_command(folder / "run")
    values: dict[str, object] = {
        "database_url": f"sqlite:///{folder}/tunesmith.db",
        "redis_url": redis.url,
        "artifacts": folder / "artifacts",
        "dataset_roots": (folder / "photos",),
        "host": "127.0.0.1",
        "port": free_port(),
        "auth": "off",
        "device": "cpu",
        "threads": 1,
    }
    settings = load_settings(**{**values, **changes})
    return Installation(folder, settings, redis.arguments, roster or Roster())


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process's transaction keeps every writer of the SQLite file out."""
    with closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def wait_until(
    condition: Callable[[], _T], what: str, *, within_s: float = 120.0, look_s: float = 0.02
) -> _T:
    """What the condition said when it first was not empty."""
    until_s = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < until_s, f"not within {within_s:g} s: {what}"
        time.sleep(look_s)
    return found


def send(pid: int, number: signal.Signals) -> None:
    """The process has got the signal, if it still exists."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def tree_of(pid: int) -> set[int]:
    """The process and all its descendants, those of ended parents excepted."""
    parents = _parents()
    found, new = {pid}, {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def running() -> set[int]:
    """Every process that has not ended."""
    return set(_parents())


def _parents() -> dict[int, int]:
    return {pid: parent for pid, (_, parent) in _processes().items()}


def _awake() -> set[int]:
    return {pid for pid, (state, _) in _processes().items() if state not in {"T", "t"}}


def _processes() -> dict[int, tuple[str, int]]:
    """State and parent of every process that has not ended."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
            if state not in {"Z", "X"}:
                found[int(status.parent.name)] = (state, int(parent))
    return found


def _outputs() -> Iterator[tuple[int, str]]:
    """Processes with the file that their standard output is."""
    for link in Path("/proc").glob("[0-9]*/fd/1"):
        with contextlib.suppress(OSError):
            yield int(link.parts[2]), str(link.readlink())


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(members: list[Member]) -> None:
    living = [member.process for member in members if member.process is not None]
    for process in living:
        process.terminate()
    until_s = time.monotonic() + _END_WITHIN_S
    for process in living:
        try:
            process.wait(timeout=max(0.0, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
