"""The trainers of one attempt, one for each device that the job asked for; they end together.

The first one gets the orders and hands them on where all have taken the same step. The others end
only by dying, or after they have said what broke the attempt off; so as soon as one has ended the
attempt is over, and the rest is killed. One that is broken off must not say so before it is known
that no other has died: what it suffers from may be nothing but that death.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

import structlog

from worker import forks
from worker.control import IS_DONE, WANTS_THE_WORD, Message, Order
from worker.forks import Child
from worker.seat import Seat
from worker.standby import Standby
from worker.trainer import Assignment

log = structlog.get_logger(__name__)


class Group:
    """The trainers of one attempt, from their forks to their exit codes.

    Raises:
        OSError, EOFError: one of them could not be started; none is left.
    """

    def __init__(
        self, standby: Standby, assignment: Assignment, *, count: int, asked_at_s: float
    ) -> None:
        self._standby = standby
        self._name = assignment.job_id
        self._folder = Path(tempfile.mkdtemp(prefix="tunesmith-")) if count > 1 else None
        self._members: list[Child] = []
        self._talking: list[Child] = []
        """Those that may still say something; a silent one may take a while to be gone."""
        self._wanting: list[Child] = []
        self._speaker: Child | None = None
        self._said = Message(Order.CONTINUE, assignment.lease_until_s)
        self._exit_code = 0
        self._is_done = False
        self.asked_at_s = asked_at_s
        """When the first one last asked for orders."""
        try:
            for seat in self._seats(count):
                self._members.append(self._standby.take())
                self._begin(self._members[-1], replace(assignment, seat=seat))
                self._talking.append(self._members[-1])
        except BaseException:
            self.close()
            raise

    def ended(self, *, within_s: float) -> bool:
        """Whether the attempt is over within this time; no trainer is left that does anything."""
        heard = wait([*self._sentinels(), *self._last_words()], timeout=within_s)
        gone = [member for member in self._members if member.process.sentinel in heard]
        if not gone:
            self._give_the_word()
            self._listen()
            return self._is_done
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
            member.let_go()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _sentinels(self) -> list[int]:
        return [member.process.sentinel for member in self._members]

    def _last_words(self) -> list[Connection]:
        """Where one trainer says that it is done; of several none does."""
        return [member.pipe for member in self._talking] if len(self._members) == 1 else []

    def _seats(self, count: int) -> Iterator[Seat]:
        meeting = None if self._folder is None else self._folder / "meeting"
        for number in range(count):
            yield Seat(number=number, count=count, meeting=meeting)

    def _begin(self, member: Child, assignment: Assignment) -> None:
        seat, name = assignment.seat, self._name
        member.process.name = name if seat.is_first else f"{name}.{seat.number}"
        member.pipe.send(assignment)

    def _say(self, member: Child) -> None:
        is_first = member is self._members[0]
        said = self._said if is_first else replace(self._said, order=Order.CONTINUE)
        try:
            member.pipe.send(replace(said, has_the_word=member is self._speaker))
        except (BrokenPipeError, ConnectionResetError):
            log.debug("trainer_is_gone", job=self._name)

    def _give_the_word(self) -> None:
        """Who wanted it when all were last seen alive has it, now that all still are."""
        if self._speaker is None and self._wanting:
            self._speaker = self._wanting[0]
            self._say(self._speaker)

    def _listen(self) -> None:
        for member in list(self._talking):
            try:
                while member.pipe.poll():
                    self._hear(member, member.pipe.recv())
            except (EOFError, OSError):
                self._talking.remove(member)

    def _hear(self, member: Child, word: float | str) -> None:
        if word == IS_DONE:
            self._is_done = True
        elif word == WANTS_THE_WORD:
            self._wanting.append(member)
        elif member is self._members[0]:
            self.asked_at_s = float(word)


def _worst(codes: list[int]) -> int:
    return min(codes) if min(codes) < 0 else max(codes)
