"""Peak resident memory of an embedded stack's processes, by what they do in it."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_LOOK_S = 0.1


@dataclass(slots=True)
class PeakMemory:
    """Watches our descendants from /proc while its block lasts; elsewhere it finds nothing."""

    mib: dict[str, float] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "PeakMemory":
        """The watch has begun."""
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """The watch has ended."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            parents = dict(_parents())
            for pid in parents:
                role = _role(pid, parents)
                if role is not None:
                    self.mib[role] = max(self.mib.get(role, 0.0), _peak_mib(pid))


def _parents() -> Iterator[tuple[int, int]]:
    """Each process with its parent."""
    for entry in Path("/proc").glob("[0-9]*"):
        status = _status(int(entry.name))
        if "PPid" in status:
            yield int(entry.name), int(status["PPid"])


def _role(pid: int, parents: dict[int, int]) -> str | None:
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
    queue = "train" if "train" in child else "prepare"
    # a trainer leads a session of its own; the template it was forked from does not
    if len(line) == 2:
        return f"worker ({queue})"
    return f"trainer ({queue})" if _leads_a_session(pid) else f"template ({queue})"


def _leads_a_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def _command(pid: int) -> list[str]:
    return _read(pid, "cmdline").split("\0")


def _peak_mib(pid: int) -> float:
    return float(_status(pid).get("VmHWM", "0 kB").split()[0]) / 1024


def _status(pid: int) -> dict[str, str]:
    pairs = (line.partition(":") for line in _read(pid, "status").splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
