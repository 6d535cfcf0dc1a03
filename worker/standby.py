"""Trainers that stand by: forked before there is a job for them, they wait for their assignment.

A fork of the template and the first steps of a process take some 30 ms, which no job waits for when
a trainer stands by. It is made while the job before it runs, and holds some megabytes of its own.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext

from worker import forks
from worker.forks import Child
from worker.trainer import stand_by

Begin = Callable[[Connection, Connection], None]
"""What a trainer does from its first moment on, with its ends of pipe and lifeline."""


class Standby:
    """The next trainer, for all workers of this process."""

    def __init__(self, processes: ForkServerContext, begin: Begin = stand_by) -> None:
        self._processes = processes
        self._begin = begin
        self._next: Future[Child] | None = None
        self._changing = threading.Lock()

    def prepare(self) -> None:
        """A trainer stands by, or will as soon as the template can fork."""
        self._prepared()

    def wait(self) -> None:
        """A trainer stands by.

        Raises:
            OSError, EOFError: none could be forked (`forks.NO_PROCESS`).
        """
        self._prepared().result()

    def take(self) -> Child:
        """The trainer that stands by, or a new one.

        Raises:
            OSError, EOFError: none could be forked (`forks.NO_PROCESS`).
        """
        with self._changing:
            expected, self._next = self._next, None
        if expected is None or _is_gone(expected):
            return self._fork()
        return expected.result()

    def close(self) -> None:
        """None stands by any more."""
        with self._changing:
            expected, self._next = self._next, None
        if expected is not None:
            expected.add_done_callback(_dismiss)

    def _prepared(self) -> "Future[Child]":
        with self._changing:
            if self._next is None or _is_gone(self._next):
                self._next = Future()
                threading.Thread(target=self._fork_for, args=(self._next,), daemon=True).start()
            return self._next

    def _fork_for(self, expected: "Future[Child]") -> None:
        try:
            expected.set_result(self._fork())
        except BaseException as problem:  # noqa: BLE001 - raised again where it is awaited
            expected.set_exception(problem)

    def _fork(self) -> Child:
        return forks.start_child(self._processes, self._begin, name="standby")


def _is_gone(expected: "Future[Child]") -> bool:
    """Whether the trainer has ended, or never was."""
    if not expected.done():
        return False
    if expected.exception() is not None:
        return True
    return forks.exit_code(expected.result().process, within_s=0) is not None


def _dismiss(expected: "Future[Child]") -> None:
    if expected.exception() is None:
        trainer = expected.result()
        trainer.let_go()
        forks.exit_code(trainer.process)
