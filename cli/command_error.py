"""What a command cannot do and says in one line."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_OF_A_STORE = frozenset({errno.EHOSTUNREACH, errno.EACCES})


class CommandError(Exception):
    """A command cannot do what it was asked for; the message says why."""


@contextmanager
def store_answers() -> Iterator[None]:
    """Inside it an object store that does not answer, or refuses, ends the command in one line.

    Raises:
        CommandError: it does so.
    """
    try:
        yield
    except OSError as problem:
        if problem.errno in _OF_A_STORE:
            raise CommandError(f"{problem.filename}: {problem.strerror}") from problem
        raise
