"""The server span of a call, in the trace of its caller."""

import secrets
import time
from collections.abc import Iterable

from grpc import StatusCode

from clients.telemetry import SpanContext, SpanSink, parse_traceparent


class ServerSpan:
    """The span of one call, from its arrival; it is recorded when the call has ended."""

    def __init__(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
        self.start_ns = time.time_ns()
        caller = _caller_span(metadata or ())
        self.parent = caller.span_id if caller else None
        self.context = SpanContext(caller.trace_id if caller else _random(128), _random(64))

    def record(self, sink: SpanSink, method: str, kind: str, code: StatusCode) -> float:
        """Hand the span over; gives the seconds the call took."""
        end_ns = time.time_ns()
        sink.record(
            method,
            self.context,
            parent=self.parent,
            kind="server",
            start_ns=self.start_ns,
            end_ns=end_ns,
            attributes={
                "rpc.system.name": "grpc",
                "rpc.method": method,
                "rpc.response.status_code": code.name,
                "ronghe.caller.kind": kind,
            },
            error=None if code is StatusCode.OK else code.name,
        )
        return (end_ns - self.start_ns) / 1e9


def _caller_span(metadata: Iterable[tuple[str, str | bytes]]) -> SpanContext | None:
    for name, value in metadata:
        if name == "traceparent" and isinstance(value, str):
            return parse_traceparent(value)
    return None


def _random(bits: int) -> int:
    """A random id, never zero."""
    return secrets.randbits(bits) or 1
