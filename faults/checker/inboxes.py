"""Inboxes: gap-free, the right items for the right receivers, a case's in order, acknowledged only what was given."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from faults.checker.history import Delivery, History, Journal, Kind, Problem
from faults.checker.routes import receivers

PULLED = "service/"
"""Inboxes of subsystems: what they got is in their journals."""


def check(history: History) -> Iterator[Problem]:
    """Rows by plain SQL, and deliveries as the receivers wrote them down."""
    given = _given(history)
    for journal in history.journals.values():
        yield from _sequences(journal)
        yield from _routing(history, journal)
        yield from _acknowledged(journal, given)
    for journal in (*history.journals.values(), *history.lost):
        yield from _deliveries(journal, given)


def _given(history: History) -> Mapping[tuple[str, str], list[Delivery]]:
    found: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
    for delivery in history.deliveries:
        if delivery.event.id in history.poison:
            continue
        found[delivery.subsystem, delivery.receiver].append(delivery)
    return found


def _sequences(journal: Journal) -> Iterator[Problem]:
    by_receiver: dict[str, list[int]] = defaultdict(list)
    for row in journal.inbox:
        by_receiver[row.receiver].append(row.sequence)
    for receiver, last in journal.last_sequences.items():
        found = sorted(by_receiver[receiver])
        if found != list(range(1, last + 1)):
            missing = sorted(set(range(1, last + 1)) - set(found))[:3]
            yield Problem(Kind.LOST, f"inbox {receiver}", f"{len(found)} items up to {last}, missing {missing}")


def _routing(history: History, journal: Journal) -> Iterator[Problem]:
    wanted = Counter(
        (receiver, row.event.id)
        for row in journal.rows
        for receiver in receivers(history, journal.subsystem, row.event)
    )
    found = Counter(
        (row.receiver, journal.by_position[row.position].id)
        for row in journal.inbox
        if row.position in journal.by_position and journal.by_position[row.position].id not in history.poison
    )
    for receiver, event_id in wanted.keys() - found.keys():
        event = journal.events[event_id]
        yield Problem(Kind.LOST, f"inbox {receiver}", f"{event.name} {event_id}", event.case_id)
    for (receiver, event_id), count in found.items():
        event = journal.events[event_id]
        if (receiver, event_id) not in wanted:
            yield Problem(Kind.MISROUTED, f"inbox {receiver}", f"{event.name} {event_id}", event.case_id)
        elif count > 1:
            yield Problem(Kind.DOUBLED, f"inbox {receiver}", f"{event.name} {event_id}", event.case_id)


def _acknowledged(journal: Journal, given: Mapping[tuple[str, str], list[Delivery]]) -> Iterator[Problem]:
    got = {
        (each.receiver, each.event.id) for key, found in given.items() if key[0] == journal.subsystem for each in found
    }
    for row in journal.inbox:
        if row.receiver.startswith(PULLED):
            continue
        event = journal.by_position.get(row.position)
        if row.is_acknowledged and event is not None and (row.receiver, event.id) not in got:
            what = f"item {row.sequence} counts as acknowledged and was never given"
            yield Problem(Kind.LOST, f"inbox {row.receiver}", what, row.case_id)


def _deliveries(journal: Journal, given: Mapping[tuple[str, str], list[Delivery]]) -> Iterator[Problem]:
    rows = {(row.receiver, row.sequence): row for row in journal.inbox}
    for (subsystem, receiver), deliveries in given.items():
        if subsystem != journal.subsystem:
            continue
        last: dict[str, int] = {}
        seen: set[int] = set()
        for delivery in (each for each in deliveries if each.epoch == journal.epoch):
            event, sequence = delivery.event, delivery.sequence
            row = rows.get((receiver, sequence))
            if row is None or journal.by_position.get(row.position) != event:
                what = f"item {sequence} was given as {event.name} {event.id}, the inbox has another"
                yield Problem(Kind.ALTERED, f"inbox {receiver}", what, event.case_id)
            if sequence not in seen and sequence < last.get(event.case_id, 0):
                what = f"item {sequence} was given after {last[event.case_id]}"
                yield Problem(Kind.REORDERED, f"inbox {receiver}", what, event.case_id)
            seen.add(sequence)
            last[event.case_id] = max(sequence, last.get(event.case_id, 0))
