"""Spans that died with their process, made again from a case's timeline: it has the events' ids and causes."""

from collections.abc import Iterator, Mapping, Sequence

from clients.telemetry import SEND, SpanContext, event_span_id, hop_span_id
from clients.telemetry.spans import Span
from clients.telemetry.store import in_order
from clients.telemetry.tree import FILLED
from ronghe.case.v1.case_service_pb2 import TimelineEntry

EVENTS = "ronghe.event.v1."


def filled(spans: Sequence[Span], entries: Sequence[TimelineEntry], trace_id: int) -> Sequence[Span]:
    """A trace's spans, with those of events that are missing, and of sends from which others hang.

    They have no length: they stand where the subsystem of the timeline recorded the event.
    """
    known = {span.context.span_id for span in spans}
    below = {span.parent: span for span in reversed(spans)}
    made = [span for entry in entries for span in _of(entry, below, trace_id) if span.context.span_id not in known]
    return in_order([*spans, *made])


def _of(entry: TimelineEntry, below: Mapping[int | None, Span], trace_id: int) -> Iterator[Span]:
    """`below`: the first span under a parent."""
    event, *_ = ids = [event_span_id(each) for each in (entry.event_id, *entry.causes)]
    at = entry.recorded_at.ToNanoseconds()
    attributes: dict[str, str | int | bool] = {
        "ronghe.event.id": entry.event_id,
        "ronghe.stream": entry.stream,
        "ronghe.stream.version": entry.version,
        FILLED: True,
    }
    yield Span(
        EVENTS + entry.type,
        SpanContext(trace_id, event),
        parent=ids[1] if entry.causes else None,
        kind="internal",
        start_ns=at,
        end_ns=at,
        attributes=attributes,
        links=[SpanContext(trace_id, cause) for cause in ids[2:]],
        error=None,
        service=entry.origin,
    )
    send = hop_span_id(entry.event_id, SEND)
    processed = below.get(send)
    if processed is not None:
        name = processed.name.replace("process", SEND, 1)
        yield Span(name, SpanContext(trace_id, send), event, "producer", at, at, {FILLED: True}, (), None, entry.origin)
