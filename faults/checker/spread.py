"""Every event stands once in every journal that must have it, at least once on the topic, the same everywhere."""

from collections import Counter
from collections.abc import Iterable, Iterator

from faults.checker.history import Event, History, Kind, Problem
from faults.checker.routes import holders, may_say


def check(history: History) -> Iterator[Problem]:
    """Compare every copy with the origin's own."""
    for name, journal in history.journals.items():
        events = [row.event for row in journal.rows if row.event.id not in history.poison]
        yield from _copies(history, name, events, must_be_once=True)
        for event in events:
            if name not in holders(event.name):
                yield Problem(Kind.MISROUTED, name, f"{event.name} {event.id} has no business here", event.case_id)
            if not may_say(event):
                yield Problem(Kind.INVENTED, name, f"{event.name} is not for {event.origin} to say", event.case_id)
    yield from _copies(history, "topic", _honest(history), must_be_once=False)
    yield from _lost(history)


def _honest(history: History) -> Iterable[Event]:
    return (record.event for record in history.topic if record.event.id not in history.poison)


def _copies(history: History, where: str, events: Iterable[Event], *, must_be_once: bool) -> Iterator[Problem]:
    seen: Counter[tuple[str, str]] = Counter()
    for event in events:
        original = history.own.get(event.id)
        if original is None:
            yield Problem(Kind.INVENTED, where, f"{event.name} {event.id} is unknown at its origin", event.case_id)
        elif original != event:
            yield Problem(Kind.ALTERED, where, f"{event.name} {event.id} is not as its origin wrote it", event.case_id)
        seen[event.origin, event.id] += 1
        if must_be_once and seen[event.origin, event.id] == 2:
            yield Problem(Kind.DOUBLED, where, f"{event.name} {event.id}", event.case_id)


def _lost(history: History) -> Iterator[Problem]:
    on_topic = {record.event.id for record in history.topic}
    for event in history.own.values():
        for name in holders(event.name) & history.journals.keys():
            if event.id not in history.journals[name].events:
                yield Problem(Kind.LOST, name, f"{event.name} {event.id} of {event.origin}", event.case_id)
        if event.id not in on_topic:
            yield Problem(Kind.LOST, "topic", f"{event.name} {event.id} of {event.origin}", event.case_id)
