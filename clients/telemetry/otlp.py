"""Spans to a collector, through the SDK's own exporter."""

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace import SpanContext as OtelContext

from clients.telemetry.ids import SpanContext
from clients.telemetry.spans import Span

KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
SCOPE = InstrumentationScope("ronghe")
SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class OtlpExporter:
    """Sends spans to the endpoint of the standard OTEL_EXPORTER_OTLP_ variables."""

    def __init__(self, service: str) -> None:
        self._resource = Resource.create({"service.name": service, "service.namespace": "ronghe"})
        self._exporter = OTLPSpanExporter()

    def export(self, spans: Sequence[Span]) -> None:
        """Send them; OSError when the collector does not take them."""
        if self._exporter.export([self._readable(span) for span in spans]) is not SpanExportResult.SUCCESS:
            raise OSError("the collector did not take the spans")

    def close(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()

    def _readable(self, span: Span) -> ReadableSpan:
        parent = None if span.parent is None else _context(SpanContext(span.context.trace_id, span.parent), remote=True)
        return ReadableSpan(
            name=span.name,
            context=_context(span.context),
            parent=parent,
            resource=self._resource,
            attributes={**span.attributes, "error.type": span.error} if span.error else span.attributes,
            links=[Link(_context(link, remote=True)) for link in span.links],
            kind=KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=SCOPE,
        )


def _context(context: SpanContext, *, remote: bool = False) -> OtelContext:
    return OtelContext(context.trace_id, context.span_id, is_remote=remote, trace_flags=SAMPLED)
