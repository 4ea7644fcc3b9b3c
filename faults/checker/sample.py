"""A history of a few of its cases: what is tried on it many times does not take hours on a long one."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from uuid import UUID

from faults.checker.history import History, InboxRow, Journal
from faults.checker.marks import marks_in
from faults.checker.mutations import rechained

Sequences = Mapping[tuple[str, str, int], int]
"""(subsystem, receiver, sequence) -> what it is in the sample."""


def sample(history: History, cases: int) -> History:
    """The first so many cases, as if there had been no others; heads would give away every change of a journal."""
    kept = frozenset(islice(history.by_case, cases))
    marks = {mark for case_id in kept for event in history.by_case[case_id] for mark in marks_in(event.body)}
    traces = {UUID(case_id).hex for case_id in kept}
    sequences = {key: number for journal in history.journals.values() for key, number in _numbered(journal, kept)}
    items = {key: event_id for journal in history.journals.values() for key, event_id in _items(journal)}
    return replace(
        history,
        requests=[each for each in history.requests if each.mark in marks or not each.answers],
        journals={name: _journal(journal, kept, sequences) for name, journal in history.journals.items()},
        topic=[record for record in history.topic if record.event.case_id in kept],
        deliveries=[
            replace(each, sequence=sequences[key], epoch=history.journals[each.subsystem].epoch)
            for each in history.deliveries
            for key in [(each.subsystem, each.receiver, each.sequence)]
            if key in sequences and items[key] == each.event.id  # in an epoch that was lost it may have been another
        ],
        shown=[each for each in history.shown if each.case_id in kept],
        lost=(),
        files={},
        spans=[span for span in history.spans if span.trace in traces],
        whole=False,
    )


def _numbered(journal: Journal, kept: Collection[str]) -> list[tuple[tuple[str, str, int], int]]:
    """The items of these cases, counted anew in each inbox."""
    numbers: Counter[str] = Counter()
    found = []
    for row in sorted(journal.inbox, key=lambda row: row.sequence):
        if row.case_id in kept:
            numbers[row.receiver] += 1
            found.append(((journal.subsystem, row.receiver, row.sequence), numbers[row.receiver]))
    return found


def _items(journal: Journal) -> Iterator[tuple[tuple[str, str, int], str]]:
    for row in journal.inbox:
        yield (journal.subsystem, row.receiver, row.sequence), journal.by_position[row.position].id


def _journal(journal: Journal, kept: Collection[str], sequences: Sequences) -> Journal:
    rows = rechained([row for row in journal.rows if row.event.case_id in kept])
    positions = {row.event.id: row.position for row in rows}
    inbox = [
        replace(
            row,
            sequence=sequences[journal.subsystem, row.receiver, row.sequence],
            position=positions[journal.by_position[row.position].id],
        )
        for row in journal.inbox
        if row.case_id in kept
    ]
    return replace(
        journal,
        rows=rows,
        head=(rows[-1].position, rows[-1].hash) if rows else (0, bytes(32)),
        inbox=inbox,
        last_sequences=_last(inbox),
        published=None,
        set_aside=[(event_id, case_id) for event_id, case_id in journal.set_aside if case_id in kept],
        letters=[(event_id, case_id) for event_id, case_id in journal.letters if case_id in kept],
        overdue_timers=[],
        cases={case_id: case for case_id, case in journal.cases.items() if case_id in kept},
        collaborations={name: each for name, each in journal.collaborations.items() if each.case_id in kept},
    )


def _last(inbox: Collection[InboxRow]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in inbox:
        found[row.receiver] = max(row.sequence, found.get(row.receiver, 0))
    return found
