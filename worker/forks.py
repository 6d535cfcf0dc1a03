"""Processes that threads of one worker start, most of them by a fork of the template.

`multiprocessing` looks after every child that it knows at each start. Of two threads that read one
child's exit code at the same time the second finds nothing, and takes the template for dead.
"""

import threading
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

_LOOKING_AFTER_CHILDREN = threading.Lock()

TEMPLATE_GONE = 255
"""The exit code of a process whose own nobody can tell any more."""

NO_PROCESS = (OSError, EOFError)
"""What comes of a fork when the template was killed in that very moment, or there is no memory."""


def preload(modules: list[str]) -> None:
    """The template, which all threads share, will load these before it forks."""
    forkserver.set_forkserver_preload(modules)


def start_template() -> None:
    """The template has begun to load, if it had not."""
    forkserver.ensure_running()


def start(process: BaseProcess) -> None:
    """The process runs; one that is forked does so once the template has loaded everything.

    Raises:
        OSError, EOFError: it could not be (`NO_PROCESS`).
    """
    with _LOOKING_AFTER_CHILDREN:
        process.start()


def exit_code(process: BaseProcess, *, within_s: float | None = None) -> int | None:
    """How the process ended, negative for a signal; None while it runs, for this time at most."""
    if not wait([process.sentinel], timeout=within_s):
        return None
    with _LOOKING_AFTER_CHILDREN:
        process.join()
        return process.exitcode
