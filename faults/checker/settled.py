"""Nothing is stuck once everything had time to settle."""

from collections.abc import Iterator

from faults.checker.history import Event, History, Journal, Kind, Problem, Row
from faults.checker.routes import ANSWERED_BY, OUTCOMES

ARRIVED_BY_KAFKA = 3
ENDS = frozenset({"CollaborationConcluded", "CollaborationRecalled"})


def check(history: History) -> Iterator[Problem]:
    """What should have moved on and did not."""
    for journal in history.journals.values():
        name = journal.subsystem
        yield from on_their_way(journal)
        yield from (
            Problem(Kind.STUCK, name, f"event {event_id} is set aside", case_id)
            for event_id, case_id in journal.set_aside
            if event_id in history.own or case_id in history.by_case
        )
        yield from (Problem(Kind.STUCK, name, f"a timer of {stream} is overdue") for stream in journal.overdue_timers)
        yield from _signed(journal, must_be=history.whole)
    for case_id, events in history.by_case.items():
        yield from _case(case_id, list(events))


def _signed(journal: Journal, *, must_be: bool) -> Iterator[Problem]:
    """A journal that grew is signed; `must_be`: also where it never was."""
    heads = [row.event.fact.position for row in journal.rows if _is_own_head(journal, row)]
    unsigned = [row.position for row in journal.rows if not row.event.is_head and row.position > max(heads, default=0)]
    if unsigned and (heads or must_be):
        yield Problem(Kind.STUCK, journal.subsystem, f"no head names row {unsigned[-1]}")


def _is_own_head(journal: Journal, row: Row) -> bool:
    return row.event.is_head and row.event.origin.partition("-")[0] == journal.subsystem


def on_their_way(journal: Journal) -> Iterator[Problem]:
    """Items that nobody has acknowledged, rows that are not published."""
    yield from (
        Problem(Kind.STUCK, f"inbox {row.receiver}", f"item {row.sequence} is not acknowledged", row.case_id)
        for row in journal.inbox
        if not row.is_acknowledged
    )
    if journal.published is not None and any(
        row.position > journal.published and row.arrival != ARRIVED_BY_KAFKA for row in journal.rows
    ):
        what = f"nothing is published behind row {journal.published}"
        yield Problem(Kind.STUCK, journal.subsystem, what)


def _case(case_id: str, events: list[Event]) -> Iterator[Problem]:
    names = [event.name for event in events]
    if not OUTCOMES & set(names):
        yield Problem(Kind.STUCK, "case", f"has no outcome after {', '.join(names)}", case_id)
    for causes, effects in ANSWERED_BY.items():
        asked, answered = sum(map(names.count, causes)), sum(map(names.count, effects))
        what = f"{asked} x {' or '.join(sorted(causes))}, {answered} x {' or '.join(sorted(effects))}"
        if answered != asked:
            yield Problem(Kind.STUCK if answered < asked else Kind.DOUBLED, "case", what, case_id)
    opened = {event.fact.collaboration_id for event in events if event.name == "CollaborationOpened"}
    ended = {event.fact.collaboration_id for event in events if event.name in ENDS}
    for collaboration in opened - ended:
        yield Problem(Kind.STUCK, "case", f"the collaboration {collaboration} does not end", case_id)
