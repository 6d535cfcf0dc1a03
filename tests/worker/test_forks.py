"""Processes that several threads start and wait for."""

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

from worker import forks


def test_every_thread_learns_how_its_own_child_ended() -> None:
    processes = multiprocessing.get_context("forkserver")
    all_begin = threading.Barrier(4)

    def codes(own: int) -> list[int | None]:
        all_begin.wait()
        found = []
        for _ in range(40):
            # each start looks after the children of the other threads, too
            child = processes.Process(target=end_with, args=(own,))
            forks.start(child)
            found.append(forks.exit_code(child))
        return found

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(codes, range(1, 5)))

    assert found == [[own] * 40 for own in range(1, 5)]


def test_a_child_that_runs_has_no_exit_code() -> None:
    processes = multiprocessing.get_context("forkserver")
    ours, theirs = processes.Pipe()
    child = processes.Process(target=end_when_told, args=(theirs,))
    forks.start(child)

    running = forks.exit_code(child, within_s=0.05)
    ours.send("end")

    assert running is None
    assert forks.exit_code(child) == 0
    assert forks.exit_code(child, within_s=0) == 0


def end_with(code: int) -> None:
    """The process ends with this exit code."""
    raise SystemExit(code)


def end_when_told(pipe: multiprocessing.connection.Connection) -> None:
    """The process ends when something comes through the pipe."""
    pipe.recv()
