"""Traces, metrics and logs of every process."""

from clients.telemetry.ids import (
    SEND,
    SpanContext,
    SpanKind,
    SpanSink,
    event_span_id,
    format_traceparent,
    hop_span_id,
    parse_traceparent,
    trace_id,
)

__all__ = [
    "SEND",
    "SpanContext",
    "SpanKind",
    "SpanSink",
    "event_span_id",
    "format_traceparent",
    "hop_span_id",
    "parse_traceparent",
    "trace_id",
]
