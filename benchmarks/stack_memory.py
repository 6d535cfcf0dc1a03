"""Peak resident memory of an embedded stack's processes, by what they do in it."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_LOOK_S = 0.1


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """Peak MiB of our descendants by role, filled in while the block lasts; elsewhere empty."""
    mib: dict[str, float] = {}

    def look() -> None:
        for pid, role in descendants(dict(parents())):
            mib[role] = max(mib.get(role, 0.0), peak_mib(pid))

    with looking(look):
        yield mib


@contextmanager
def looking(look: Callable[[], None]) -> Iterator[None]:
    """Somebody looks ten times a second while the block lasts."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_S):
            look()

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def parents() -> Iterator[tuple[int, int]]:
    """Each process with its parent."""
    for entry in Path("/proc").glob("[0-9]*"):
        status = _status(int(entry.name))
        if "PPid" in status:
            yield int(entry.name), int(status["PPid"])


def descendants(by_process: Mapping[int, int]) -> Iterator[tuple[int, str]]:
    """Each of our descendants that does something in the stack, with what it does."""
    for pid in by_process:
        role = _role(pid, by_process)
        if role is not None:
            yield pid, role


def _role(pid: int, parents: Mapping[int, int]) -> str | None:
    """What our descendant does in the stack; None for a stranger and for a helper."""
    line = [pid]
    while line[-1] in parents and line[-1] != os.getpid():
        line.append(parents[line[-1]])
    if line[-1] != os.getpid() or len(line) < 2:
        return None
    child = _command(line[-2])
    if "api.main" in child:
        return "api" if len(line) == 2 else None
    if "worker.app" not in child:
        return None
    # a trainer leads a session of its own; the template it was forked from does not
    if len(line) == 2:
        return "worker"
    if any("worker.decoder" in part for part in _command(pid)):
        return "decoder"
    return "trainer" if leads_a_session(pid) else "template"


def leads_a_session(pid: int) -> bool:
    """Whether the process began a session, as a trainer does."""
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def _command(pid: int) -> list[str]:
    return _read(pid, "cmdline").split("\0")


def peak_mib(pid: int) -> float:
    """The high-water mark of the resident size."""
    return float(_status(pid).get("VmHWM", "0 kB").split()[0]) / 1024


def _status(pid: int) -> dict[str, str]:
    pairs = (line.partition(":") for line in _read(pid, "status").splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
