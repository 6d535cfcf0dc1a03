"""A decoder that some photos, by their names, ruin as a fault of a library in C would."""

import ctypes
import os
import signal
from io import BufferedReader

from worker import decoder
from worker.decoder import DecodingLimits, PhotoFacts, PhotoOrder

PROGRAM = "from tests.worker.poisoned_decoder import main; main()"


def main() -> None:
    """As `worker.decoder.main`, but for poison."""
    decode = decoder._facts

    def facts(file: BufferedReader, order: PhotoOrder, limits: DecodingLimits) -> PhotoFacts:
        _take_effect(order)
        return decode(file, order, limits)

    decoder._facts = facts
    decoder.main()


def _take_effect(order: PhotoOrder) -> None:
    poison, once = order.path.stem, order.path.with_suffix(".done")
    if poison == "segfault":
        ctypes.string_at(0)
    elif poison == "loop":
        while True:
            pass
    elif poison == "hoard":
        bytearray(1 << 40)
    elif poison == "killed_once" and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    elif poison == "bug":
        raise LookupError("a fault of our own")
