"""Trainers that stand by: forked before there is a job for them, they wait for their assignment.

A fork of the template and the first steps of a process take some 30 ms, which no job waits for when
a trainer stands by. It is made while the job before it runs, and holds some megabytes of its own.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess

from worker import forks
from worker.trainer import Assignment, stand_by

Begin = Callable[[Connection, Connection], None]
"""What a trainer does from its first moment on, with its ends of pipe and lifeline."""


@dataclass(frozen=True, slots=True, eq=False)
class Trainer:
    """A process that does one job, seen from its worker."""

    process: ForkServerProcess
    pipe: Connection
    lifeline: Connection

    def assign(self, assignment: Assignment) -> None:
        """It begins with the job.

        Raises:
            OSError: it is gone.
        """
        self.pipe.send(assignment)

    def let_go(self) -> None:
        """It ends by itself, for nobody holds its lifeline."""
        self.pipe.close()
        self.lifeline.close()


class Standby:
    """The next trainer, for all workers of this process."""

    def __init__(self, processes: ForkServerContext, begin: Begin = stand_by) -> None:
        self._processes = processes
        self._begin = begin
        self._next: Future[Trainer] | None = None
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

    def take(self) -> Trainer:
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

    def _prepared(self) -> "Future[Trainer]":
        with self._changing:
            if self._next is None or _is_gone(self._next):
                self._next = Future()
                threading.Thread(target=self._fork_for, args=(self._next,), daemon=True).start()
            return self._next

    def _fork_for(self, expected: "Future[Trainer]") -> None:
        try:
            expected.set_result(self._fork())
        except BaseException as problem:  # noqa: BLE001 - raised again where it is awaited
            expected.set_exception(problem)

    def _fork(self) -> Trainer:
        theirs, ours = self._processes.Pipe(duplex=True)
        their_lifeline, lifeline = self._processes.Pipe(duplex=False)
        process = self._processes.Process(
            target=self._begin, args=(theirs, their_lifeline), name="standby"
        )
        forks.start(process)
        theirs.close()
        their_lifeline.close()
        return Trainer(process, ours, lifeline)


def _is_gone(expected: "Future[Trainer]") -> bool:
    """Whether the trainer has ended, or never was."""
    if not expected.done():
        return False
    if expected.exception() is not None:
        return True
    return forks.exit_code(expected.result().process, within_s=0) is not None


def _dismiss(expected: "Future[Trainer]") -> None:
    if expected.exception() is None:
        trainer = expected.result()
        trainer.let_go()
        forks.exit_code(trainer.process)
