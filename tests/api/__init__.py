"""Tests of the service over its application's interface."""

import warnings

from starlette.exceptions import StarletteDeprecationWarning

with warnings.catch_warnings():
    # the test client would rather have another HTTP library than the one the project ships; it
    # says so when it is imported for the first time
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    import starlette.testclient  # noqa: F401
