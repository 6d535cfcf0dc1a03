"""Traces of requests and jobs, if somebody collects them; else nothing happens here.

The environment's ``OTEL_EXPORTER_OTLP_ENDPOINT`` turns them on (`settings.traces_endpoint`), and
the extra ``otel`` brings the library, of which this module needs nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Protocol

Value = str | int | float | bool


class Span(Protocol):
    """What is timed."""

    def tell(self, name: str | None = None, **attributes: Value) -> None:
        """It is called so, and has these attributes, too; ``__`` in their names stands for a dot.

        Both may be known at its end only.
        """


class Traces(Protocol):
    """Where spans go; `otel.Otel` is the one that sends them."""

    def span(
        self, name: str, *, parent: str | None, kind: str, attributes: Mapping[str, Value]
    ) -> AbstractContextManager[Span]:
        """The block is a span, below ``parent`` (a ``traceparent``, W3C) or the one around it."""

    def traceparent(self) -> str | None:
        """What continues the present trace elsewhere."""

    def enter_phase(self, name: str) -> None:
        """The span of the phase before has ended, and this one's has begun."""

    def end(self) -> None:
        """Everything has been sent, or given up after a moment."""


class _Unseen:
    def tell(self, name: str | None = None, **attributes: Value) -> None:
        pass


class _Nowhere:
    @contextmanager
    def span(
        self, name: str, *, parent: str | None, kind: str, attributes: Mapping[str, Value]
    ) -> Iterator[Span]:
        yield _Unseen()

    def traceparent(self) -> str | None:
        return None

    def enter_phase(self, name: str) -> None:
        pass

    def end(self) -> None:
        pass


_traces: Traces = _Nowhere()


class TracesUnavailableError(Exception):
    """Traces are wanted, and the library that sends them is not installed."""


def begin(service: str, endpoint: str | None) -> None:
    """The spans of this process go to the collector at ``endpoint``; None: nowhere.

    Raises:
        TracesUnavailableError: the extra ``otel`` is missing.
    """
    global _traces
    if endpoint is None:
        _traces = _Nowhere()
        return
    try:
        otel = import_module("jobs.otel")
    except ImportError as problem:
        raise TracesUnavailableError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but the library is missing: "
            f"pip install 'tunesmith[otel]' ({problem})"
        ) from problem
    _traces = otel.sending(service, endpoint)


def span(
    name: str, *, parent: str | None = None, kind: str = "internal", **attributes: Value
) -> AbstractContextManager[Span]:
    """As `Traces.span`; ``kind`` is server, consumer or internal."""
    return _traces.span(name, parent=parent, kind=kind, attributes=attributes)


def traceparent() -> str | None:
    """As `Traces.traceparent`; None where nobody collects traces."""
    return _traces.traceparent()


def enter_phase(name: str) -> None:
    """As `Traces.enter_phase`."""
    _traces.enter_phase(name)


def end() -> None:
    """As `Traces.end`."""
    _traces.end()
