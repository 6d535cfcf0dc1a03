"""The devices that one worker owns, as people write them: ``0-3``, ``0,2``."""

import re

MOST = 64
_RANGE = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")
_RIGHT = "write numbers and ranges separated by commas, such as 0-3 or 0,2"


def parsed(text: str) -> tuple[int, ...]:
    """The numbers of the devices, in the order given, each once.

    Raises:
        ValueError: the text is no such list; the message says what would be right.
    """
    numbers: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            raise ValueError(f"{text!r} is no list of devices; {_RIGHT}")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise ValueError(f"{part.strip()!r} ends before it begins; write {last}-{first}")
        numbers += range(first, last + 1)
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{text!r} names a device twice; name each once")
    if len(numbers) > MOST:
        raise ValueError(f"{text!r} are {len(numbers)} devices; one worker owns {MOST} at the most")
    return tuple(numbers)


def count_in(name: str) -> int:
    """How many devices a worker's device name stands for: ``cuda:0-3`` for four, ``cpu`` for one.

    Raises:
        ValueError: what follows the colon is no list of devices.
    """
    _, colon, numbers = name.partition(":")
    return len(parsed(numbers)) if colon else 1
