"""Child processes of the embedded stack: started, watched, started again, ended."""

import contextlib
import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.command_error import CommandError

_DEATHS_TOO_MANY = 5
_DEATHS_WITHIN_S = 60.0
_BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 4.0)
_LAST_LINES = 20
_PR_SET_PDEATHSIG = 1
_LOCAL, _STATE, _INODE = 1, 3, 9
"""Columns of the kernel's table of TCP sockets."""
_LISTEN = "0A"


class ChildKeepsDyingError(CommandError):
    """A child of the stack died five times within a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to start one child."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]


@dataclass(slots=True)
class Child:
    """One child, through all its lives; its output goes to a log file."""

    recipe: Recipe
    log_file: Path
    descriptors: tuple[int, ...] = ()
    """Open files that the child inherits, and with them the locks on these."""
    _process: subprocess.Popen[bytes] | None = None
    _deaths: list[float] = field(default_factory=list)
    _start_at_s: float = 0.0

    def start(self) -> None:
        """The child runs, in a session of its own, and dies with us if we are killed."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as output:
            self._process = subprocess.Popen(
                self.recipe.arguments,
                env=self.recipe.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=self.descriptors,
                preexec_fn=_die_with_parent,
            )

    def tend(self) -> str | None:
        """A line about what happened, if the child died or was started again.

        Raises:
            ChildKeepsDyingError: it has died too often; the message has its last lines.
        """
        now_s = time.monotonic()
        if self._process is None:
            if now_s < self._start_at_s:
                return None
            self.start()
            return f"{self.recipe.name} started again"
        exit_code = self._process.poll()
        if exit_code is None:
            return None
        self._process = None
        self._deaths = [*(at for at in self._deaths if now_s - at < _DEATHS_WITHIN_S), now_s]
        if len(self._deaths) >= _DEATHS_TOO_MANY:
            raise ChildKeepsDyingError(self._obituary(exit_code))
        self._start_at_s = now_s + _BACK_OFF_S[len(self._deaths) - 1]
        return f"{self.recipe.name} ended with exit code {exit_code}"

    def listens(self, port: int) -> bool:
        """Whether the child is alive and, where the system tells, has the TCP port itself."""
        if self._process is None or self._process.poll() is not None:
            return False
        return sys.platform != "linux" or not _listening(port).isdisjoint(
            _sockets(self._process.pid)
        )

    def ask_to_end(self) -> None:
        """The child has got SIGTERM."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def end(self, *, until_s: float) -> bool:
        """Whether the child ended by itself before the monotonic time; else it is killed."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout=max(0.0, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True

    def _obituary(self, exit_code: int) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return (
            f"{self.recipe.name} died {_DEATHS_TOO_MANY} times within a minute, the last time "
            f"with exit code {exit_code}; the end of {self.log_file}:\n" + "\n".join(lines)
        )


def _listening(port: int) -> set[str]:
    """The inodes of the sockets that listen on the TCP port, on any address."""
    rows = [
        line.split()
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for line in Path(table).read_text().splitlines()[1:]
    ]
    return {
        row[_INODE]
        for row in rows
        if row[_STATE] == _LISTEN and int(row[_LOCAL].rpartition(":")[2], 16) == port
    }


def _sockets(pid: int) -> Iterator[str]:
    """The inodes of the sockets that the process has open."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        # it may be closed, or the process gone, between two looks
        with contextlib.suppress(OSError):
            kind, _, inode = str(descriptor.readlink()).partition(":")
            if kind == "socket":
                yield inode.strip("[]")


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
