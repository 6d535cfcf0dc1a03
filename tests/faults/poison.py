"""A runner of fine-tunes of which some, by their name, ruin the trainer that does them.

It belongs to the tests alone: `tests.faults.poisoned_worker` puts it in the place of the real one.
"""

import ctypes
import os
import re
from collections.abc import Callable

from worker.context import Context, Ending
from worker.runners import fine_tune

LAST_WORDS = "the last line before the end"
EXIT_CODE = 17


def run(context: Context) -> Ending:
    """What the real runner makes of the job, unless its name is a poison's."""
    poison = POISONS.get(str(context.job.spec["name"]))
    if poison is not None:
        print(LAST_WORDS, flush=True)  # noqa: T201 - into the job's log
        poison()
    return fine_tune.run(context)


def _segfault() -> None:
    ctypes.string_at(0)


def _exit() -> None:
    os._exit(EXIT_CODE)


def _loop() -> None:
    while True:
        pass


def _loop_without_a_turn_for_other_threads() -> None:
    # backtracks for longer than anybody lives, and keeps the interpreter's lock meanwhile
    re.match(r"(a+)+$", "a" * 100 + "b")


POISONS: dict[str, Callable[[], None]] = {
    "segfault": _segfault,
    "exit": _exit,
    "loop": _loop,
    "deaf loop": _loop_without_a_turn_for_other_threads,
}
