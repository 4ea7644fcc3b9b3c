"""A case has one outcome, decided by its lead, the same everywhere; so are its documents and its collaborations."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from faults.checker.history import History, Kind, Problem
from faults.checker.routes import OUTCOMES
from ronghe.case.v1.case_pb2 import Case
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration

View = TypeVar("View", bound=Message)

COUNTED = ("version",)
"""Each subsystem counts for itself what shaped its view."""
NOT_TOLD = ("collaborations", "last_act_at")
"""What is asked of others, and that it was an act, is not intake's to know."""
BOTH = ("governance", "department")
"""They have all facts of a case, and of what was asked about it."""


def check(history: History) -> Iterator[Problem]:
    """Facts first, then every subsystem's view."""
    for case_id, events in history.by_case.items():
        ends = [event.name for event in events if event.name in OUTCOMES]
        if len(ends) > 1:
            yield Problem(Kind.DOUBLED, "outcome", " and ".join(ends), case_id)
        yield from _cases(history, case_id)
    yield from _unknown(history)
    for collaboration_id in {each for name in BOTH for each in history.journals[name].collaborations}:
        yield from _collaborations(history, collaboration_id)


def _unknown(history: History) -> Iterator[Problem]:
    for name, journal in history.journals.items():
        for case_id in journal.cases.keys() - history.by_case.keys():
            yield Problem(Kind.INVENTED, name, "has a view of a case of which there is no fact", case_id)


def _cases(history: History, case_id: str) -> Iterator[Problem]:
    views = {name: journal.cases.get(case_id) for name, journal in history.journals.items() if journal.cases}
    for name in _missing(views):
        yield Problem(Kind.LOST, name, "the case has no view", case_id)
    known = _known(views)
    if len({case.outcome for case in known.values()}) > 1:
        yield Problem(Kind.ALTERED, "outcome", "another outcome elsewhere", case_id)
    if len({tuple(map(_bytes, case.documents)) for case in known.values()}) > 1:
        yield Problem(Kind.ALTERED, "documents", "not the same everywhere", case_id)
    if _differ(known.values(), (*COUNTED, *NOT_TOLD)):
        yield Problem(Kind.ALTERED, "views", "the case is not the same everywhere", case_id)
    elif _differ([case for name, case in known.items() if name in BOTH], COUNTED):
        what = "what was asked about the case is not the same at the center and the lead"
        yield Problem(Kind.ALTERED, "views", what, case_id)


def _collaborations(history: History, collaboration_id: str) -> Iterator[Problem]:
    views = {name: history.journals[name].collaborations.get(collaboration_id) for name in BOTH}
    known = _known(views)
    case_id = next(view.case_id for view in known.values())
    for name in _missing(views):
        yield Problem(Kind.LOST, name, f"the collaboration {collaboration_id} has no view", case_id)
    if _differ(known.values(), COUNTED):
        what = f"the collaboration {collaboration_id} is not the same at the center and the lead"
        yield Problem(Kind.ALTERED, "views", what, case_id)


def _missing(views: Mapping[str, View | None]) -> Sequence[str]:
    return [name for name, view in views.items() if view is None]


def _known(views: Mapping[str, View | None]) -> Mapping[str, View]:
    return {name: view for name, view in views.items() if view is not None}


def _differ(views: Collection[Case] | Collection[Collaboration], but: Sequence[str]) -> bool:
    """Whether they are not the same, apart from these fields."""
    return len({_bytes(view, but) for view in views}) > 1


def _bytes(message: Message, but: Sequence[str] = ()) -> bytes:
    copy = type(message)()
    copy.CopyFrom(message)
    for field in but:
        copy.ClearField(field)
    return copy.SerializeToString(deterministic=True)
