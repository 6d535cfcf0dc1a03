"""Who runs on a data folder: one `tunesmith up`, and the processes that it has started.

Two locks, both given back by the kernel however a process ends. `up.lock` is handed on to every
child, so it is free only when the last process of a run is gone; `up.pid` stays with `up` itself
and names it. A lock that is held on `up.pid` thus means that the number in it is not a stale one.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Self

from cli.command_error import CommandError

_LOOK_S = 0.1
_GONE_WITHIN_S = 60.0
_PROBED_WITHIN_S = 0.5
"""Whoever asks for the holder has the lock for a moment; an `up` is not refused for that."""


class FolderInUseError(CommandError):
    """Another run has the folder."""


class FolderLock:
    """The data folder is ours, and that of the children who inherit `descriptor`.

    Raises:
        FolderInUseError: another `tunesmith up` runs on the folder, or what one that was killed
            has left behind did not end within a minute.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        report: Callable[[str], None],
        within_s: float = _GONE_WITHIN_S,
    ) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._name = opened.enter_context((data_dir / "up.pid").open("a+"))
            if not any(_taken(self._name) for _ in _looks(_PROBED_WITHIN_S)):
                raise FolderInUseError(
                    f"{data_dir} is in use by another `tunesmith up` (process "
                    f"{_read(self._name) or 'unknown'}); end it with `tunesmith down` first, or "
                    "choose another --data-dir"
                )
            _write(self._name, str(os.getpid()))
            self._run = opened.enter_context((data_dir / "up.lock").open("a+"))
            _wait_for_leftovers(self._run, data_dir, report, within_s)
            opened.pop_all()

    @property
    def descriptor(self) -> int:
        """The open file that every child has to inherit."""
        return self._run.fileno()

    def __enter__(self) -> Self:
        """The lock itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """The folder is free as soon as no child is left."""
        self.close()

    def close(self) -> None:
        """The folder is free as soon as no child is left."""
        self._run.close()
        _write(self._name, "")
        self._name.close()


def holder(data_dir: Path) -> int | None:
    """The process number of the `tunesmith up` that runs on the folder, if one does."""
    with contextlib.suppress(FileNotFoundError), (data_dir / "up.pid").open("r+") as name:
        if not _taken(name):
            number = _read(name)
            return int(number) if number else None
    return None


def is_free(data_dir: Path) -> bool:
    """Whether no process of any run on the folder is left."""
    with contextlib.ExitStack() as opened:
        for name in ("up.pid", "up.lock"):
            with contextlib.suppress(FileNotFoundError):
                if not _taken(opened.enter_context((data_dir / name).open("r+"))):
                    return False
    return True


def _wait_for_leftovers(
    run: IO[str], data_dir: Path, report: Callable[[str], None], within_s: float
) -> None:
    for said in _looks(within_s):
        if _taken(run):
            return
        if not said:
            report(f"waiting until the processes of an earlier run on {data_dir} have ended")
    raise FolderInUseError(
        f"{data_dir} is in use: processes of an earlier run have not ended within {within_s:g} s; "
        f"`fuser {data_dir}/up.lock` names them"
    )


def _looks(within_s: float) -> Iterator[int]:
    """The number of each look, one every tenth of a second; at least one."""
    until_s, look = time.monotonic() + within_s, 0
    while look == 0 or time.monotonic() < until_s:
        yield look
        look += 1
        time.sleep(_LOOK_S)


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip()


def _write(file: IO[str], text: str) -> None:
    file.truncate(0)
    file.write(text)
    file.flush()
