"""What callers were told against what happened: an OK is one effect, a refusal none, silence none or one."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from google.protobuf.message import Message

from faults.checker.history import Event, History, Kind, Problem, Request
from faults.checker.marks import marks_in
from faults.checker.routes import EFFECTS
from ronghe.document.v1.document_pb2 import Document


def check(history: History) -> Iterator[Problem]:
    """Count each request's effects at the origin."""
    effects = _by_mark(history)
    for request in history.requests:
        found = [event for event in effects[request.mark] if event.name in EFFECTS[request.command]]
        yield from _count(request, found)
        if request.answers:
            yield from _compare(request, request.answers[0], found)
    yield from _unasked(history, effects)


def _by_mark(history: History) -> Mapping[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for journal in history.journals.values():
        for row in journal.rows:
            if row.event.origin.partition("-")[0] == journal.subsystem:
                for mark in marks_in(row.event.body):
                    found[mark].append(row.event)
    return found


def _count(request: Request, found: list[Event]) -> Iterator[Problem]:
    where = f"{request.command} {request.mark} of {request.caller}"
    case_id = found[0].case_id if found else ""
    if request.answers and not found:
        yield Problem(Kind.LOST, "requests", f"{where} was acknowledged and has no effect")
    if len(found) > 1:
        yield Problem(Kind.DOUBLED, "requests", f"{where} has {len(found)} effects", case_id)
    if found and request.refusal:
        yield Problem(Kind.INVENTED, "requests", f"{where} was refused ({request.refusal}) and has an effect", case_id)


def _compare(request: Request, answer: Message, found: list[Event]) -> Iterator[Problem]:
    """The caller holds the papers that the journal has."""
    if len({each.SerializeToString(deterministic=True) for each in request.answers}) > 1:
        yield Problem(Kind.ALTERED, "requests", f"{request.command} {request.mark} was answered in two ways")
    for event in found[:1]:
        for field, value in answer.ListFields():
            if isinstance(value, Document) and value.text_digest not in event.body:
                yield Problem(
                    Kind.ALTERED, "requests", f"{request.command} was answered with another {field.name}", event.case_id
                )
            if field.name == "case_id" and value != event.case_id:
                yield Problem(Kind.ALTERED, "requests", f"{request.command} was answered with another case", value)


def _unasked(history: History, effects: Mapping[str, list[Event]]) -> Iterator[Problem]:
    """Facts that only a request can lead to, and that nobody requested."""
    known = {request.mark for request in history.requests}
    by_request = frozenset().union(*EFFECTS.values())
    for mark, events in effects.items():
        for event in events:
            if event.name in by_request and mark not in known:
                yield Problem(Kind.INVENTED, "requests", f"{event.name} by a request that nobody sent", event.case_id)
