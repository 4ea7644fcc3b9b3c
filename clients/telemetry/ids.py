"""Ids of traces and spans, derived from the case and its events, so that a lost span can be filled in."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

SEND = "send"
"""The hop of an event to Kafka."""
REMEMBERED = 16_384
"""Ids: what is under way names them several times."""

SpanKind = Literal["internal", "server", "client", "producer", "consumer"]


class SpanContext(NamedTuple):
    """Names a span: 128-bit trace id, 64-bit span id."""

    trace_id: int
    span_id: int


class SpanSink(Protocol):
    """Where finished spans go."""

    def record(
        self,
        name: str,
        context: SpanContext,
        *,
        parent: int | None,
        kind: SpanKind,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, str | int | float | bool],
        links: Sequence[SpanContext] = (),
        error: str | None = None,
    ) -> None:
        """Hand a finished span over; never blocks."""


@lru_cache(REMEMBERED)
def trace_id(case_id: str) -> int:
    """The trace of a case is the case's id."""
    return int(case_id.replace("-", ""), 16)


@lru_cache(REMEMBERED)
def event_span_id(event_id: str) -> int:
    """The span of an event."""
    return _derived(b"event", event_id)


@lru_cache(REMEMBERED)
def hop_span_id(event_id: str, hop: str) -> int:
    """The span of one hop of an event, for example "send"."""
    return _derived(hop.encode(), event_id)


def _derived(name: bytes, event_id: str) -> int:
    return int.from_bytes(hashlib.sha256(name + bytes.fromhex(event_id.replace("-", ""))).digest()[:8]) or 1


def format_traceparent(context: SpanContext) -> str:
    """W3C Trace Context, always sampled: the trace's own sampler decides."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def parse_traceparent(text: str) -> SpanContext | None:
    """The context of a traceparent; None when it is none."""
    parts = text.split("-")
    if len(parts) < 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return None
    try:
        context = SpanContext(int(parts[1], 16), int(parts[2], 16))
    except ValueError:
        return None
    return context if context.trace_id and context.span_id else None
