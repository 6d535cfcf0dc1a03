"""Processes that threads of one worker start, most of them by a fork of the template.

`multiprocessing` looks after every child that it knows at each start. Of two threads that read one
child's exit code at the same time the second finds nothing, and takes the template for dead.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

_LOOKING_AFTER_CHILDREN = threading.Lock()

NO_PROCESS = (OSError, EOFError)
"""What comes of a fork when the template was killed in that very moment, or there is no memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """A process of a worker's, and how it is spoken to."""

    process: BaseProcess
    pipe: Connection
    lifeline: Connection
    """Its other end finds the end of file when nobody holds this one: the worker is gone."""

    def let_go(self) -> None:
        """It ends by itself, for nobody holds its lifeline."""
        self.pipe.close()
        self.lifeline.close()


def start_child(
    processes: ForkServerContext | SpawnContext,
    begin: Callable[..., None],
    *arguments: object,
    name: str,
) -> Child:
    """The process runs ``begin`` with the arguments and its own ends of pipe and lifeline.

    Raises:
        OSError, EOFError: it could not be started (`NO_PROCESS`).
    """
    theirs, ours = processes.Pipe()
    their_lifeline, lifeline = processes.Pipe(duplex=False)
    process = processes.Process(target=begin, args=(*arguments, theirs, their_lifeline), name=name)
    start(process)
    theirs.close()
    their_lifeline.close()
    return Child(process, ours, lifeline)


def preload(modules: list[str]) -> None:
    """The template, which all threads share, will load these before it forks."""
    forkserver.set_forkserver_preload(modules)


def start(process: BaseProcess) -> None:
    """The process runs; one that is forked does so once the template has loaded everything.

    Raises:
        OSError, EOFError: it could not be (`NO_PROCESS`).
    """
    with _LOOKING_AFTER_CHILDREN:
        process.start()


def exit_code(process: BaseProcess, *, within_s: float | None = None) -> int | None:
    """How the process ended, negative for a signal; None while it runs, for this time at most."""
    with _LOOKING_AFTER_CHILDREN:
        # once it has been read there is nothing to wait for, until the template hangs up
        if process.exitcode is not None:
            return process.exitcode
    if not wait([process.sentinel], timeout=within_s):
        return None
    with _LOOKING_AFTER_CHILDREN:
        process.join()
        return process.exitcode
