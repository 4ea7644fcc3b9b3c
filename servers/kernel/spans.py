"""The spans of events: made after the commit, from the journal's own facts, so that a lost one can be filled in."""

from bridge.record import Arrival
from clients.telemetry import SpanContext, SpanSink, event_span_id, trace_id
from servers.kernel.batch import Taken
from servers.kernel.writer import Committed


def record_events(spans: SpanSink, committed: Committed) -> None:
    """One span for every own event of a case: from when work on it began until it was durable."""
    for taken in committed.taken:
        if taken.record.arrival is Arrival.OWN and taken.record.is_of_case:
            _record_event(spans, taken, committed.finished_at)


def _record_event(spans: SpanSink, taken: Taken, finished_at: int) -> None:
    record = taken.record
    trace = trace_id(record.case_id)
    causes = [event_span_id(cause) for cause in record.causes]
    links = [SpanContext(trace, span) for span in causes[1:]]
    if taken.call is not None:
        links.append(taken.call)
    spans.record(
        record.type,
        SpanContext(trace, event_span_id(record.event_id)),
        parent=causes[0] if causes else None,
        kind="internal",
        start_ns=taken.started_at,
        end_ns=finished_at,
        attributes={
            "ronghe.event.id": record.event_id,
            "ronghe.stream": record.stream,
            "ronghe.stream.version": record.version,
        },
        links=links,
    )
