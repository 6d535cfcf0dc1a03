"""What a command cannot do and says in one line."""


class CommandError(Exception):
    """A command cannot do what it was asked for; the message says why."""
