"""A case has one outcome, decided by its lead, the same everywhere; so are its documents and its collaborations.

All subsystems fold facts in one way: so each view is compared with the facts as well, not with the others alone.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from faults.checker.history import Event, History, Kind, Problem
from faults.checker.routes import OUTCOMES
from ronghe.case.v1 import case_pb2
from ronghe.case.v1.case_pb2 import Case
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration

View = TypeVar("View", bound=Message)

COUNTED = ("version",)
"""Each subsystem counts for itself what shaped its view."""
NOT_TOLD = ("collaborations", "last_act_at")
"""What is asked of others, and that it was an act, is not intake's to know."""
BOTH = ("governance", "department")
"""They have all facts of a case, and of what was asked about it."""
ENDS = {
    "AcceptanceRefused": (case_pb2.STATE_CLOSED, case_pb2.OUTCOME_ACCEPTANCE_REFUSED),
    "Withdrawn": (case_pb2.STATE_CLOSED, case_pb2.OUTCOME_WITHDRAWN),
}
"""Besides a decision, which says itself how it ends a case, and is closed by a fact of its own."""
DOCUMENTS = {
    "Submitted": "voucher",
    "Accepted": "receipt",
    "AcceptanceRefused": "refusal",
    "CorrectionRequested": "notice",
    "Decided": "decision",
}
"""Fact -> its field that holds the paper it issues."""
COLLABORATION_ENDS = {
    "CollaborationConcluded": Collaboration.STATE_CONCLUDED,
    "CollaborationRecalled": Collaboration.STATE_RECALLED,
}


def check(history: History) -> Iterator[Problem]:
    """Facts first, then every subsystem's view."""
    for case_id, events in history.by_case.items():
        ends = [event.name for event in events if event.name in OUTCOMES]
        if len(ends) > 1:
            yield Problem(Kind.DOUBLED, "outcome", " and ".join(ends), case_id)
        yield from _cases(history, case_id)
        yield from _by_its_facts(history, case_id, events)
    yield from _unknown(history)
    for collaboration_id in {each for name in BOTH for each in history.journals[name].collaborations}:
        yield from _collaborations(history, collaboration_id)


def _unknown(history: History) -> Iterator[Problem]:
    for name, journal in history.journals.items():
        for case_id in journal.cases.keys() - history.by_case.keys():
            yield Problem(Kind.INVENTED, name, "has a view of a case of which there is no fact", case_id)


def _cases(history: History, case_id: str) -> Iterator[Problem]:
    # In a part of a history a subsystem may have no view at all.
    shown = (journal for journal in history.journals.values() if journal.cases or history.whole)
    views = {journal.subsystem: journal.cases.get(case_id) for journal in shown}
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


def _by_its_facts(history: History, case_id: str, events: Sequence[Event]) -> Iterator[Problem]:
    """Each view of a case, and of what was asked about it, says what the facts say."""
    ends = {_end(event) for event in events if event.name in OUTCOMES}
    if any(event.name == "Closed" for event in events):
        ends = {(case_pb2.STATE_CLOSED, outcome) for _, outcome in ends}
    issued = [_bytes(getattr(event.fact, DOCUMENTS[event.name])) for event in events if event.name in DOCUMENTS]
    for name, journal in history.journals.items():
        case = journal.cases.get(case_id)
        if case is None:
            continue
        if (case.state, case.outcome) not in ends and (ends or case.outcome):
            yield Problem(Kind.ALTERED, name, "the case's view has not the end that its facts say", case_id)
        if [_bytes(document) for document in case.documents] != issued:
            yield Problem(Kind.ALTERED, name, "the documents of the case's view are not those of its facts", case_id)
    for event in events:
        if event.name in COLLABORATION_ENDS:
            yield from _collaboration_ended(history, event)


def _end(event: Event) -> tuple[int, int]:
    """State and outcome."""
    if event.name == "Decided":
        return case_pb2.STATE_DECIDED, event.fact.outcome
    return ENDS[event.name]


def _collaboration_ended(history: History, event: Event) -> Iterator[Problem]:
    for name in BOTH:
        view = history.journals[name].collaborations.get(event.fact.collaboration_id)
        if view is not None and view.state != COLLABORATION_ENDS[event.name]:
            what = f"the view of {view.collaboration_id} does not say {event.name}"
            yield Problem(Kind.ALTERED, name, what, event.case_id)


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
