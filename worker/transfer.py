"""Something comes from elsewhere in a thread, while this one tells how far it is and may end it.

Whatever the thread is waiting for (a name server, a connection, a library), the job ends at once.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from jobs.errors import SourceTimeoutError
from worker.break_off import go_on
from worker.context import Context
from worker.progress import ProgressWriter

_LOOK_S = 0.1

T = TypeVar("T")


@dataclass(slots=True)
class Transfer:
    """How much has come; written by the thread that fetches, read by the one that tells.

    ``steps`` are files, where there are several.
    """

    bytes: int = 0
    total_bytes: int | None = None
    step: int | None = None
    steps: int | None = None

    @property
    def fraction(self) -> float:
        """The share that has come, 0 to 1; 0 while nobody knows."""
        return min(1.0, self.bytes / self.total_bytes) if self.total_bytes else 0.0


def carried_out(context: Context, transfer: Transfer, do: Callable[[], T], *, share: float) -> T:
    """What ``do`` returned; it stands for this share of the whole job.

    Raises:
        StoppedError: the job must end; the thread is left to end with the process.
        SourceTimeoutError: it took longer than one attempt may.
    """
    writer = ProgressWriter(context, phase="fetching")
    most_s = context.settings.fetch_total_s
    deadline_s = monotonic() + most_s
    done = _started(do)
    while True:
        go_on(context)
        writer.write(_progress(transfer, share), {})
        try:
            return done.result(timeout=_LOOK_S)
        except NotYet:
            if done.done():
                raise
        if monotonic() > deadline_s:
            raise SourceTimeoutError(
                f"the source was not here after {most_s:g} s (TUNESMITH_FETCH_TOTAL_S); "
                f"{transfer.bytes} bytes had come"
            )


def _progress(transfer: Transfer, share: float) -> dict[str, object]:
    return {
        "fraction": share * transfer.fraction,
        "phase": "fetching",
        "step": transfer.step,
        "steps": transfer.steps,
        "bytes": transfer.bytes,
        "total_bytes": transfer.total_bytes,
    }


def _started(do: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(do())
        except BaseException as problem:  # noqa: BLE001 - raised again where it is waited for
            future.set_exception(problem)

    # a daemon: the process does not wait for what it has given up
    threading.Thread(target=run, name="transfer", daemon=True).start()
    return future
