"""The trainers of one attempt, one for each device that the job asked for; they end together.

The first one gets the orders and hands them on where all have taken the same step. The others end
only by dying, or after they have said what broke the attempt off; so as soon as one has ended the
attempt is over, and the rest is killed. One that is broken off must not say so before it is known
that no other has died: what it suffers from may be nothing but that death.
"""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import structlog

from worker import forks
from worker.control import WANTS_THE_WORD, Message, Order
from worker.seat import Seat
from worker.trainer import Assignment, run_trainer

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Member:
    """One trainer, seen from the worker."""

    process: ForkServerProcess
    pipe: Connection
    lifeline: Connection
    wants_the_word: bool = False


class Group:
    """The trainers of one attempt, from their forks to their exit codes.

    Raises:
        OSError, EOFError: one of them could not be started; none is left.
    """

    def __init__(
        self, processes: ForkServerContext, assignment: Assignment, *, count: int, asked_at_s: float
    ) -> None:
        self._processes = processes
        self._name = assignment.job_id
        self._folder = Path(tempfile.mkdtemp(prefix="tunesmith-")) if count > 1 else None
        self._members: list[_Member] = []
        self._speaker: _Member | None = None
        self._said = Message(Order.CONTINUE, assignment.lease_until_s)
        self._exit_code = 0
        self.asked_at_s = asked_at_s
        """When the first one last asked for orders."""
        try:
            for seat in self._seats(count):
                self._members.append(self._started(replace(assignment, seat=seat)))
        except BaseException:
            self.close()
            raise

    def ended(self, *, within_s: float) -> bool:
        """Whether the attempt is over within this time; then no trainer is left."""
        over = wait([member.process.sentinel for member in self._members], timeout=within_s)
        if not over:
            self._give_the_word()
            self._listen()
            return False
        gone = [member for member in self._members if member.process.sentinel in over]
        self._exit_code = _worst([forks.exit_code(member.process) or 0 for member in gone])
        self.kill()
        for member in self._members:
            forks.exit_code(member.process)
        return True

    @property
    def exit_code(self) -> int:
        """Of the trainer that ended first; of several that died in one moment, a deadly one."""
        return self._exit_code

    def send(self, order: Order, lease_until_s: float) -> None:
        """The first trainer has the order, and all know how long the lease runs."""
        self._said = Message(order, lease_until_s)
        for member in self._members:
            self._say(member)

    def kill(self) -> None:
        """Every trainer, with all that it has started, is on its way out."""
        for member in self._members:
            pid = member.process.pid
            if pid is None or forks.exit_code(member.process, within_s=0) is not None:
                continue
            try:
                # a trainer leads a process group of its own once it has begun
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                member.process.kill()

    def close(self) -> None:
        """Trainers that are left end by themselves, for nobody holds their lifelines."""
        for member in self._members:
            member.pipe.close()
            member.lifeline.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _seats(self, count: int) -> Iterator[Seat]:
        meeting = None if self._folder is None else self._folder / "meeting"
        for number in range(count):
            yield Seat(number=number, count=count, meeting=meeting)

    def _started(self, assignment: Assignment) -> _Member:
        theirs, ours = self._processes.Pipe(duplex=True)
        their_lifeline, lifeline = self._processes.Pipe(duplex=False)
        seat, name = assignment.seat, self._name
        process = self._processes.Process(
            target=run_trainer,
            args=(assignment, theirs, their_lifeline),
            name=name if seat.is_first else f"{name}.{seat.number}",
        )
        forks.start(process)
        theirs.close()
        their_lifeline.close()
        return _Member(process, ours, lifeline)

    def _say(self, member: _Member) -> None:
        is_first = member is self._members[0]
        said = self._said if is_first else replace(self._said, order=Order.CONTINUE)
        try:
            member.pipe.send(replace(said, has_the_word=member is self._speaker))
        except (BrokenPipeError, ConnectionResetError):
            log.debug("trainer_is_gone", job=self._name)

    def _give_the_word(self) -> None:
        """Who wanted it when all were last seen alive has it, now that all still are."""
        wanting = [member for member in self._members if member.wants_the_word]
        if self._speaker is None and wanting:
            self._speaker = wanting[0]
            self._say(self._speaker)

    def _listen(self) -> None:
        for member in self._members:
            with contextlib.suppress(EOFError, OSError):
                while member.pipe.poll():
                    self._hear(member, member.pipe.recv())

    def _hear(self, member: _Member, word: float | str) -> None:
        if word == WANTS_THE_WORD:
            member.wants_the_word = True
        elif member is self._members[0]:
            self.asked_at_s = float(word)


def _worst(codes: list[int]) -> int:
    return min(codes) if min(codes) < 0 else max(codes)
