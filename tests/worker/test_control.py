"""The pipe between a supervisor and its trainer, and the line that ends the one with the other."""

import math
import multiprocessing
import re
import signal
from multiprocessing.connection import Connection

import pytest

from worker import trainer
from worker.control import Control, Message, Order

FOR_EVER_S = math.inf


def test_a_trainer_answers_each_word_with_the_time_at_which_it_last_asked() -> None:
    processes = multiprocessing.get_context("forkserver")
    theirs, ours = processes.Pipe(duplex=True)
    lets_go_on, goes_on = processes.Pipe(duplex=False)
    trainer = processes.Process(target=_ask_later, args=(theirs, lets_go_on))
    trainer.start()

    first, second = (_answer(ours, Order.CONTINUE) for _ in range(2))
    goes_on.send("ask")
    while _answer(ours, Order.CONTINUE) == first:
        continue
    ours.send(Message(Order.LEAVE, FOR_EVER_S))
    trainer.join()

    assert first == second
    assert trainer.exitcode == 0


def _answer(pipe: Connection, order: Order) -> float:
    pipe.send(Message(order, FOR_EVER_S))
    answer: float = pipe.recv()
    return answer


def _ask_later(pipe: Connection, lets_go_on: Connection) -> None:
    control = Control(pipe, FOR_EVER_S)
    lets_go_on.recv()
    while not control.must_end:
        continue


@pytest.mark.timeout(60)
def test_a_process_whose_threads_cannot_run_ends_with_its_lifeline() -> None:
    processes = multiprocessing.get_context("forkserver")
    theirs, ours = processes.Pipe(duplex=False)
    told, tells = processes.Pipe(duplex=False)
    deaf = processes.Process(target=_be_deaf, args=(theirs, tells))
    deaf.start()
    theirs.close()
    told.recv()

    ours.close()
    deaf.join()

    assert deaf.exitcode == -signal.SIGIO


def _be_deaf(lifeline: Connection, tells: Connection) -> None:
    trainer.end_with(lifeline)
    tells.send("listening")
    # backtracks for longer than anybody lives, and keeps the interpreter's lock meanwhile
    re.match(r"(a+)+$", "a" * 100 + "b")
