"""A case has one outcome, decided by its lead, the same everywhere; so are its documents."""

from collections.abc import Iterator

from faults.checker.history import History, Kind, Problem
from faults.checker.routes import OUTCOMES
from ronghe.case.v1.case_pb2 import Case

LOCAL = ("version", "collaborations", "last_act_at")
"""What each subsystem counts for itself, or intake is not told."""


def check(history: History) -> Iterator[Problem]:
    """Facts first, then every subsystem's view."""
    for case_id, events in history.by_case.items():
        ends = [event.name for event in events if event.name in OUTCOMES]
        if len(ends) > 1:
            yield Problem(Kind.DOUBLED, "outcome", " and ".join(ends), case_id)
        yield from _views(history, case_id)


def _views(history: History, case_id: str) -> Iterator[Problem]:
    views = {name: journal.cases.get(case_id) for name, journal in history.journals.items() if journal.cases}
    for name, case in views.items():
        if case is None:
            yield Problem(Kind.LOST, name, "the case has no view", case_id)
    known = {name: case for name, case in views.items() if case is not None}
    if len({case.outcome for case in known.values()}) > 1:
        yield Problem(Kind.ALTERED, "outcome", "another outcome elsewhere", case_id)
    if len({tuple(map(_bytes, case.documents)) for case in known.values()}) > 1:
        yield Problem(Kind.ALTERED, "documents", "not the same everywhere", case_id)
    if len({_shared(case) for case in known.values()}) > 1:
        yield Problem(Kind.ALTERED, "views", "the case is not the same everywhere", case_id)


def _shared(case: Case) -> bytes:
    copy = Case()
    copy.CopyFrom(case)
    for field in LOCAL:
        copy.ClearField(field)  # type: ignore[arg-type]
    return _bytes(copy)


def _bytes(message: object) -> bytes:
    return message.SerializeToString(deterministic=True)  # type: ignore[attr-defined, no-any-return]
