"""Versions of each stream come in order, and causes before their effects, in every journal and on the topic."""

from collections.abc import Iterator, Sequence

from faults.checker.history import Event, History, Kind, Problem
from faults.checker.routes import holders

LATE = {("intake", "StepRemarked")}
"""Where facts of a new type may come late: the center passes them on once it knows them."""


def check(history: History) -> Iterator[Problem]:
    """Walk every journal by position; the topic by partition and offset, repeats left out."""
    for name, journal in history.journals.items():
        yield from _walk(history, name, _honest(history, [row.event for row in journal.rows]))
    yield from _one_partition(history)
    records = sorted(history.topic, key=lambda record: (record.partition, record.offset))
    first: dict[str, Event] = {}
    for record in records:
        first.setdefault(record.event.id, record.event)
    yield from _walk(history, "topic", _honest(history, list(first.values())))


def _honest(history: History, events: Sequence[Event]) -> Sequence[Event]:
    return [event for event in events if event.id not in history.poison]


def _walk(history: History, where: str, events: Sequence[Event]) -> Iterator[Problem]:
    versions: dict[tuple[str, str], int] = {}
    seen: set[str] = set()
    for event in events:
        if (where, event.name) in LATE:
            seen.add(event.id)
            continue
        stream = event.origin, event.stream
        if event.id not in seen and event.version <= versions.get(stream, 0):
            what = f"{event.stream} version {event.version} after {versions[stream]}"
            yield Problem(Kind.REORDERED, where, what, event.case_id)
        versions[stream] = event.version
        for cause in event.causes:
            if cause not in seen and _belongs(history, where, cause, event):
                yield Problem(Kind.REORDERED, where, f"{event.name} before its cause {cause}", event.case_id)
        seen.add(event.id)


def _belongs(history: History, where: str, cause: str, effect: Event) -> bool:
    """Whether the cause must stand there; one that nobody has is found elsewhere.

    Deployments that publish their journals again do so side by side: then only each one's own order is kept.
    """
    event = history.own.get(cause)
    if event is None:
        return False
    if where == "topic":
        return not history.republished or event.origin == effect.origin
    return where in holders(event.name) and (where, event.name) not in LATE


def _one_partition(history: History) -> Iterator[Problem]:
    partitions: dict[str, int] = {}
    for record in history.topic:
        case_id = record.event.case_id
        if partitions.setdefault(case_id, record.partition) != record.partition:
            yield Problem(Kind.REORDERED, "topic", "a case lies on two partitions", case_id)
