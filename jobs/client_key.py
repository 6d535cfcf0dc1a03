"""The API key that commands send to a service, read from the environment."""

import os

VARIABLE = "TUNESMITH_API_KEY"


def client_key() -> str | None:
    """The key in ``TUNESMITH_API_KEY``; None without one."""
    return os.environ.get(VARIABLE) or None
