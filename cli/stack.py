"""The embedded stack: Redis, the API and the workers as children of one process."""

import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from cli.command_error import CommandError
from cli.folder_lock import FolderLock
from cli.processes import Child, Recipe
from cli.redis_server import free_port, redis_command
from jobs import keys
from jobs.database import Database
from jobs.devices import nvidia_devices
from jobs.settings import Settings, child_environment, load_settings

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced, not bound
_PRIVATE = {"host": "127.0.0.1", "auth": "off"}
_READY_WITHIN_S = 60.0
_END_WITHIN_S = 8.0
_LOOK_S = 0.2


class StackError(CommandError):
    """The stack cannot be started."""


class Stack:
    """Everything `tunesmith up` runs, on one data folder that it locks.

    Use it as a context manager: at its end no child is left. A private one answers this machine
    only and asks for no keys, whatever the environment says.

    Raises:
        FolderInUseError: another stack runs on the folder.
        RedisMissingError: there is no Redis to start.
        SettingsError: an environment variable has a wrong value.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int,
        dataset_roots: tuple[Path, ...],
        report: Callable[[str], None],
        is_private: bool = False,
    ) -> None:
        self._data_dir = data_dir.expanduser().absolute()
        self._report = report
        # before anything else is touched: it may belong to a running stack
        self._lock = FolderLock(self._data_dir, report=report)
        self._redis = redis_command(self._data_dir / "run")
        self.settings = load_settings(
            database_url=f"sqlite:///{self._data_dir}/tunesmith.db",
            redis_url=self._redis.url,
            artifacts=self._data_dir / "artifacts",
            port=port or free_port(),
            **({"dataset_roots": dataset_roots} if dataset_roots else {}),
            **(_PRIVATE if is_private else {}),
        )
        self._children: list[Child] = []

    @property
    def url(self) -> str:
        """Where the API answers."""
        host = _WILDCARDS.get(self.settings.host, self.settings.host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.settings.port}"

    def __enter__(self) -> Self:
        """The database is current and every child is started.

        Raises:
            StackError: another program has the API's port.
        """
        _refuse_taken_port(self.settings.host, self.settings.port)
        database = Database(self.settings.database_url)
        database.migrate()
        self._provide_key(database)
        database.close()
        logs, inherited = self._data_dir / "logs", (self._lock.descriptor,)
        self._children = [
            Child(recipe, logs / f"{recipe.name}.log", inherited) for recipe in self._recipes()
        ]
        for child in self._children:
            child.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Every child has ended: workers and API first, giving back their jobs, then Redis."""
        until_s = time.monotonic() + _END_WITHIN_S
        redis, others = self._children[:1], self._children[1:]
        for group in (others, redis):
            for child in group:
                child.ask_to_end()
            for child in group:
                if not child.end(until_s=until_s):
                    self._report(f"{child.recipe.name} had to be killed")
        self._lock.close()

    def _provide_key(self, database: Database) -> None:
        """Where keys are needed there is one; its secret is in a file, never in a log."""
        given = self.settings.admin_key_file
        new = keys.ensure_admin(database, given) if self.settings.needs_keys else None
        if new is not None and given is None:
            file = self._data_dir / "admin-key"
            file.touch(mode=0o600)
            file.write_text(f"{new.secret}\n")
            self._report(f"requests need an API key; the first admin key is in {file}")

    def tend(self) -> None:
        """Children that died are started again.

        Raises:
            ChildKeepsDyingError: one of them dies again and again.
        """
        for child in self._children:
            line = child.tend()
            if line is not None:
                self._report(line)

    def wait_until_ready(self, *, stopped: Callable[[], bool] = lambda: False) -> None:
        """Our own API answers that it is ready.

        Raises:
            StackError: it did not within a minute.
            ChildKeepsDyingError: a child dies again and again.
        """
        until_s = time.monotonic() + _READY_WITHIN_S
        while not stopped():
            self.tend()
            lack = self._lack()
            if lack is None:
                return
            if time.monotonic() > until_s:
                raise StackError(
                    f"the API at {self.url} does not answer ({lack}); "
                    f"see {self._data_dir}/logs/api.log"
                )
            time.sleep(_LOOK_S)

    def _lack(self) -> str | None:
        """Why requests cannot be sent yet, if they cannot."""
        api = next(child for child in self._children if child.recipe.name == "api")
        if not api.listens(self.settings.port):
            return "it does not listen yet"
        try:
            ready = httpx.get(f"{self.url}/readyz", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError as problem:
            return str(problem)
        return None if ready else "it is not ready"

    def _recipes(self) -> list[Recipe]:
        return [
            self._recipe("redis", *self._redis.arguments),
            self._recipe("api", sys.executable, "-m", "api.main"),
            *self._workers(),
        ]

    def _workers(self) -> Iterator[Recipe]:
        # one worker owns all devices that are listed, and else each GPU has one of its own
        is_split = self.settings.device == "auto" and not self.settings.devices
        gpus = nvidia_devices() if is_split else 0
        if gpus <= 1:
            # together, for what they load is in memory once
            yield _worker("worker", ("train", "prepare", "predict"), self.settings)
            return
        yield _worker("worker", ("prepare", "predict"), self.settings)
        for number in range(gpus):
            settings = self.settings.model_copy(update={"device": f"cuda:{number}"})
            yield _worker(f"worker-train-{number}", ("train",), settings)

    def _recipe(self, name: str, *arguments: str) -> Recipe:
        return _recipe(name, arguments, self.settings)


def queue_options(queues: Iterable[str]) -> list[str]:
    """The words that ask a worker process for these queues."""
    return [word for queue in queues for word in ("--queue", queue)]


def _worker(name: str, queues: tuple[str, ...], settings: Settings) -> Recipe:
    """One process with a worker for each of the queues."""
    arguments = (sys.executable, "-m", "worker.app", *queue_options(queues))
    return _recipe(name, arguments, settings)


def _recipe(name: str, arguments: tuple[str, ...], settings: Settings) -> Recipe:
    return Recipe(name=name, arguments=arguments, environment=child_environment(settings))


def _refuse_taken_port(host: str, port: int) -> None:
    """The port can be had, or the reason is told now and not by a child that dies of it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # connections of an earlier run that linger are no hindrance
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as problem:
            raise StackError(
                f"port {port} of {host} cannot be had ({problem.strerror}); end the program that "
                "uses it, or choose another --port (0 picks a free one)"
            ) from problem
