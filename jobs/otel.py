"""Spans sent by OpenTelemetry; imported only where traces are wanted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from jobs.tracing import Span, Value

_SENT_WITHIN_S = 3
_PROPAGATOR = TraceContextTextMapPropagator()


class _Told:
    """`tracing.Span` of an OpenTelemetry one."""

    def __init__(self, span: OtelSpan) -> None:
        self._span = span

    def tell(self, name: str | None = None, **attributes: Value) -> None:
        if name is not None:
            self._span.update_name(name)
        self._span.set_attributes(_dotted(attributes))


class Otel:
    """`tracing.Traces` of one process."""

    def __init__(self, service: str, processor: SpanProcessor) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("tunesmith")
        self._phase: OtelSpan | None = None

    @contextmanager
    def span(
        self, name: str, *, parent: str | None, kind: str, attributes: Mapping[str, Value]
    ) -> Iterator[Span]:
        """As `tracing.Traces`; phases that were entered inside end with it."""
        context = None if parent is None else _PROPAGATOR.extract({"traceparent": parent})
        with self._tracer.start_as_current_span(
            name, context, kind=SpanKind[kind.upper()], attributes=_dotted(attributes)
        ) as span:
            try:
                yield _Told(span)
            finally:
                self._end_phase()

    def traceparent(self) -> str | None:
        """As `tracing.Traces`."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get("traceparent")

    def enter_phase(self, name: str) -> None:
        """As `tracing.Traces`; only a trainer does that, which has one job."""
        self._end_phase()
        self._phase = self._tracer.start_span(f"phase {name}")

    def end(self) -> None:
        """As `tracing.Traces`."""
        self._provider.shutdown()

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._phase.end()
            self._phase = None


def sending(service: str, endpoint: str) -> Otel:
    """Spans of this process go to a collector by OTLP over HTTP."""
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_SENT_WITHIN_S)
    return Otel(service, BatchSpanProcessor(exporter))


def _dotted(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {name.replace("__", "."): value for name, value in attributes.items()}
