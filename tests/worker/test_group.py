"""The end of an attempt: by the process's own end, or by its word that nothing is left to do."""

import multiprocessing
import sys
import time
from multiprocessing.connection import Connection
from types import SimpleNamespace

import pytest

from jobs.settings import Settings
from worker import forks, trainer
from worker.control import Control
from worker.group import Group
from worker.standby import Begin, Standby
from worker.trainer import Assignment

LONG_S = 10.0


def done_but_slow(pipe: Connection, lifeline: Connection) -> None:
    """A trainer that has done its job and takes long to give its memory back."""
    assignment: Assignment = pipe.recv()
    Control(pipe, assignment.lease_until_s).say_done()
    time.sleep(10 * LONG_S)
    lifeline.close()


def silent_to_the_end(pipe: Connection, lifeline: Connection) -> None:
    """A trainer that ends without such a word, some time after nothing more can be heard of it."""
    pipe.recv()
    pipe.close()
    time.sleep(LONG_S / 5)
    lifeline.close()
    sys.exit(3)


def _group(settings: Settings, begin: Begin) -> Group:
    standby = Standby(multiprocessing.get_context("forkserver"), begin)
    now_s = time.monotonic()
    assignment = Assignment(settings=settings, job_id="job_1", fence=1, lease_until_s=now_s + 600)
    return Group(standby, assignment, count=1, asked_at_s=now_s)


def _over(group: Group) -> bool:
    return any(group.ended(within_s=1) for _ in range(int(LONG_S)))


def test_an_attempt_is_over_when_its_trainer_says_so(settings: Settings) -> None:
    group = _group(settings, done_but_slow)
    (member,) = group._members

    assert _over(group)
    assert group.exit_code == 0
    assert member.process.is_alive()
    group.close()
    assert forks.exit_code(member.process, within_s=LONG_S) is not None, "it ends with its pipe"


def test_without_a_word_its_end_counts(settings: Settings) -> None:
    group = _group(settings, silent_to_the_end)

    assert _over(group)
    assert group.exit_code == 3
    group.close()


@pytest.mark.parametrize("is_initialized", [True, False])
def test_a_trainer_that_holds_a_gpu_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, is_initialized: bool
) -> None:
    cuda = SimpleNamespace(is_initialized=lambda: is_initialized)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))

    assert trainer._holds_a_gpu() is is_initialized


def test_a_trainer_without_torch_holds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    assert not trainer._holds_a_gpu()
