"""Traces with spans that died, filled in from the case's timeline."""

from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from clients.filling import filled
from clients.telemetry import SEND, SpanContext, event_span_id, hop_span_id
from clients.telemetry.spans import Span
from clients.telemetry.tree import faults
from ronghe.case.v1.case_service_pb2 import TimelineEntry

TRACE = 7
SUBMITTED, ACCEPTED, ASKED, DECIDED = (str(UUID(int=number)) for number in range(1, 5))
EVENTS = {SUBMITTED: "Submitted", ACCEPTED: "Accepted", ASKED: "CollaborationConcluded", DECIDED: "Decided"}
CAUSES = {ACCEPTED: [SUBMITTED], ASKED: [ACCEPTED], DECIDED: [ACCEPTED, ASKED]}
ENTRIES = [
    TimelineEntry(event_id=event_id, type=name, origin="department-01", causes=CAUSES.get(event_id, ()),
                  recorded_at=Timestamp(seconds=place))
    for place, (event_id, name) in enumerate(EVENTS.items(), 1)
]  # fmt: skip


def event(event_id: str) -> Span:
    causes = [event_span_id(cause) for cause in CAUSES.get(event_id, ())]
    context = SpanContext(TRACE, event_span_id(event_id))
    links = [SpanContext(TRACE, cause) for cause in causes[1:]]
    parent = causes[0] if causes else None
    return Span(f"ronghe.event.v1.{EVENTS[event_id]}", context, parent, "internal", 1, 2, {}, links, None, "there")


def process(event_id: str) -> Span:
    parent = hop_span_id(event_id, SEND)
    return Span("process ronghe.cases.v1", SpanContext(TRACE, 9), parent, "consumer", 3, 4, {}, (), None, "here")


def test_an_event_whose_span_died_stands_where_it_stood() -> None:
    spans = filled([event(SUBMITTED), event(ASKED)], ENTRIES, TRACE)
    assert faults(spans) == []
    assert {span.context.span_id: (span.name, span.parent, span.links) for span in spans} == {
        each.context.span_id: (each.name, each.parent, each.links) for each in map(event, EVENTS)
    }
    decided = spans[-1]
    assert (decided.start_ns, decided.end_ns, decided.service) == (4 * 10**9, 4 * 10**9, "department-01")
    assert decided.attributes["ronghe.event.id"] == DECIDED
    assert [span.attributes.get("ronghe.filled", False) for span in spans] == [False, False, True, True]


def test_a_send_from_which_something_hangs_is_filled_in_below_its_event() -> None:
    spans = filled([event(SUBMITTED), process(SUBMITTED)], ENTRIES[:1], TRACE)
    assert faults(spans) == []
    assert [(span.name, span.parent) for span in spans[2:]] == [("send ronghe.cases.v1", event_span_id(SUBMITTED))]


def test_a_trace_that_is_whole_stays_as_it_is() -> None:
    whole = list(map(event, EVENTS))
    assert set(map(id, filled(whole, ENTRIES, TRACE))) == set(map(id, whole))
