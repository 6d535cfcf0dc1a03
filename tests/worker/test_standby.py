"""Trainers that wait for a job: there before it comes, replaced when they die, gone in the end."""

import os
import signal
from multiprocessing import active_children
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess

import pytest

from worker import forks
from worker.forks import Child
from worker.standby import Standby

LONG_S = 10.0


def test_the_trainer_that_stands_by_is_the_next_one(standby: Standby) -> None:
    standby.wait()
    (waiting,) = _waiting()

    taken, other = standby.take(), standby.take()

    assert taken.process.pid == waiting
    assert other.process.pid != waiting
    _end(taken)
    _end(other)


def test_preparing_again_makes_no_second_one(standby: Standby) -> None:
    standby.wait()
    before = _waiting()
    standby.prepare()
    standby.wait()

    assert _waiting() == before


def test_one_that_died_is_replaced(standby: Standby) -> None:
    standby.wait()
    (dead,) = _waiting()
    os.kill(dead, signal.SIGKILL)
    (child,) = (child for child in active_children() if child.pid == dead)
    assert wait([child.sentinel], timeout=LONG_S)

    taken = standby.take()

    assert taken.process.pid != dead
    assert taken.process.is_alive()
    _end(taken)


def test_none_is_left_when_nobody_needs_it_any_more(standby: Standby) -> None:
    standby.wait()
    (waiting,) = _waiting()

    standby.close()

    assert _waiting() == []
    with pytest.raises(ProcessLookupError):
        os.kill(waiting, 0)


def test_one_whose_worker_died_ends_by_itself(standby: Standby) -> None:
    taken = standby.take()

    # what the kernel does for a worker that was killed
    taken.let_go()

    assert forks.exit_code(taken.process, within_s=LONG_S) is not None


def test_a_fork_that_failed_is_tried_again() -> None:
    failing = _FailsOnce()
    standby = Standby(failing)

    with pytest.raises(OSError, match="no memory"):
        standby.wait()
    standby.wait()

    assert len(_waiting()) == 1
    standby.close()


class _FailsOnce(ForkServerContext):
    """The first process cannot be started."""

    def __init__(self) -> None:
        super().__init__()
        self.has_failed = False

    def Process(self, *args: object, **kwargs: object) -> ForkServerProcess:  # type: ignore[override]  # noqa: N802
        if not self.has_failed:
            self.has_failed = True
            raise OSError("no memory")
        return ForkServerProcess(*args, **kwargs)  # type: ignore[arg-type]


def _waiting() -> list[int]:
    return [child.pid for child in active_children() if child.pid and child.name == "standby"]


def _end(trainer: Child) -> None:
    trainer.let_go()
    forks.exit_code(trainer.process, within_s=LONG_S)
