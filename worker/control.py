"""The pipe between a supervisor and its trainer: how long the lease runs, what to do next.

The trainer answers each word with the time at which it last asked for orders. One that has not
asked for long is stuck, even where this thread of it still runs. One of several trainers asks for
the word before it tells what broke them off: see `worker.group`.

End of file means that the worker is gone: the trainer ends at once, or the next attempt would
find the device full.
"""

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection

from worker.seat import Seat

EXIT_ORPHANED = 71
EXIT_LEASE_OVER = 72
EXIT_FENCED_OFF = 73
EXIT_STORE_AWAY = 74
WANTS_THE_WORD = "wants the word"
IS_DONE = "is done"
_LOOK_S = 0.5
_ONLY_SEAT = Seat()


class Order(StrEnum):
    """What the supervisor wants of the trainer."""

    CONTINUE = "continue"
    LEAVE = "leave"
    """Save a checkpoint and end: the worker drains, or the job is pausing."""
    FINISH = "finish"
    """End the training now, evaluate and keep the model."""
    ABANDON = "abandon"
    """End at once and keep nothing: the job is cancelled."""


_TO_END = frozenset({Order.LEAVE, Order.ABANDON})


@dataclass(frozen=True, slots=True)
class Message:
    """One word from the supervisor; the deadline is on the host's monotonic clock, seconds."""

    order: Order
    lease_until_s: float
    has_the_word: bool = False
    """Whether this trainer says for all how the attempt ends."""


class Control:
    """The trainer's end of the pipe, watched by a thread of its own."""

    speaks = True
    """Whether this trainer writes what happens."""

    def __init__(self, pipe: Connection, lease_until_s: float, *, seat: Seat = _ONLY_SEAT) -> None:
        self._pipe = pipe
        self.speaks = seat.is_first
        self._wants_the_word = threading.Event()
        self._has_the_word = threading.Event()
        if seat.count == 1:
            self._has_the_word.set()
        self._lease_until_s = lease_until_s
        self._order = Order.CONTINUE
        self._asked_at_s = time.monotonic()
        threading.Thread(target=self._watch, name="control", daemon=True).start()

    @property
    def order(self) -> Order:
        """The latest word from the supervisor; asking for it is the trainer's sign of life."""
        self._asked_at_s = time.monotonic()
        return self._order

    @property
    def must_end(self) -> bool:
        """Whether work without checkpoints should break off."""
        return self.order in _TO_END

    @property
    def is_told_to_end(self) -> bool:
        """As `must_end`, for who waits for the work of others: waiting is no sign of life."""
        return self._order in _TO_END

    def take_the_word(self) -> None:
        """This trainer says how the attempt ends; one that is not to say so waits for its end."""
        self._wants_the_word.set()
        self._has_the_word.wait()
        self.speaks = True

    def wait_for_the_end(self) -> None:
        """Nothing is left to do; the worker ends this trainer when the first one has ended."""
        threading.Event().wait()

    def say_done(self) -> None:
        """Nothing is left to do but to give memory back, which nobody need wait for."""
        # a worker that is gone waits for nothing
        with contextlib.suppress(OSError):
            self._pipe.send(IS_DONE)

    def _watch(self) -> None:
        asked = False
        while True:
            try:
                if self._pipe.poll(_LOOK_S):
                    self._take(self._pipe.recv())
                if self._wants_the_word.is_set() and not asked:
                    self._pipe.send(WANTS_THE_WORD)
                    asked = True
            except (EOFError, OSError):
                os._exit(EXIT_ORPHANED)
            if time.monotonic() > self._lease_until_s:
                os._exit(EXIT_LEASE_OVER)

    def _take(self, message: Message) -> None:
        self._order = message.order
        self._lease_until_s = message.lease_until_s
        if message.has_the_word:
            self._has_the_word.set()
        self._pipe.send(self._asked_at_s)


class Undisturbed(Control):
    """Stands where nobody gives orders: the work is over before an order could be given."""

    def __init__(self) -> None:
        """No pipe is watched."""
        self._order = Order.CONTINUE

    @property
    def order(self) -> Order:
        """To go on."""
        return Order.CONTINUE

    def take_the_word(self) -> None:
        """Nobody else has it."""
