"""Peak memory of a process with all its children, shared pages counted once."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack_memory import parents

_LOOK_S = 1.0


@dataclass(slots=True)
class Peak:
    """The most that was seen."""

    mib: float = 0.0
    """Proportional set sizes together: a page that n processes share counts 1/n for each."""


@contextmanager
def peak_of_tree(root: int, *, without: Collection[int] = ()) -> Iterator[Peak]:
    """The peak of the process and its descendants while the block lasts, seen once a second.

    Processes ``without`` are not counted.
    """
    peak, over = Peak(), threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_S):
            peak.mib = max(peak.mib, sum(pss_mib(pid) for pid in tree(root) - set(without)))

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def tree(root: int) -> set[int]:
    """The process and all that descend from it now."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents():
        children.setdefault(parent, []).append(pid)
    found, left = set(), [root]
    while left:
        pid = left.pop()
        found.add(pid)
        left += children.get(pid, [])
    return found


def pss_mib(pid: int) -> float:
    """The proportional set size; 0 of a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
