"""What callers were told against what happened: an OK is one effect, a refusal none, silence none or one."""

from collections.abc import Iterator, Mapping, Sequence

from google.protobuf.message import Message

from faults.checker.history import Event, History, Kind, Problem, Request
from faults.checker.marks import marks_in
from faults.checker.routes import EFFECTS, EXCUSED, OVERTAKEN
from ronghe.document.v1.document_pb2 import Document


def check(history: History) -> Iterator[Problem]:
    """Count each request's effects at the origin."""
    effects = history.effects
    unsent = {mark for event in history.unsent.values() for mark in marks_in(event.body)}
    for request in history.requests:
        found = [event for event in effects.get(request.mark, ()) if event.name in EFFECTS[request.command]]
        if request.mark in unsent:
            yield from _asked_again(request, found)
            continue
        yield from _count(request, found)
        if request.answers:
            yield from _compare(request, request.answers[0], found)
    yield from _unasked(history, effects)


def _count(request: Request, found: list[Event]) -> Iterator[Problem]:
    yield from _not_twice(request, found)
    case_id = found[0].case_id if found else ""
    if request.answers and not found:
        yield Problem(Kind.LOST, "requests", f"{_named(request)} was acknowledged and has no effect")
    if found and request.refusal:
        what = f"{_named(request)} was refused ({request.refusal}) and has an effect"
        yield Problem(Kind.INVENTED, "requests", what, case_id)
    explained = request.spoiled or request.refusal in OVERTAKEN.get(request.command, frozenset()) | EXCUSED
    if request.refusal and not explained:
        what = f"{_named(request)} was refused ({request.refusal}), which nothing that anybody did explains"
        yield Problem(Kind.LOST, "requests", what)


def _asked_again(request: Request, found: list[Event]) -> Iterator[Problem]:
    """What was lost excuses the answers before the loss: an acknowledgement after it counts as any."""
    yield from _not_twice(request, found)
    if request.again and not found:
        what = f"{_named(request)} was acknowledged again after its effect was lost, and has none"
        yield Problem(Kind.LOST, "requests", what)


def _not_twice(request: Request, found: list[Event]) -> Iterator[Problem]:
    if len(found) > 1:
        yield Problem(Kind.DOUBLED, "requests", f"{_named(request)} has {len(found)} effects", found[0].case_id)


def _named(request: Request) -> str:
    return f"{request.command} {request.mark} of {request.caller}"


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


def _unasked(history: History, effects: Mapping[str, Sequence[Event]]) -> Iterator[Problem]:
    """Facts that only a request can lead to, and that nobody requested."""
    known = {request.mark for request in history.requests}
    by_request = frozenset().union(*EFFECTS.values())
    for mark, events in effects.items():
        for event in events:
            if event.name in by_request and mark not in known:
                yield Problem(Kind.INVENTED, "requests", f"{event.name} by a request that nobody sent", event.case_id)
