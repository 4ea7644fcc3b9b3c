"""Nobody is given what he may not see: a collaborator only its own tasks, and in them only what the item discloses.

The same of what onlookers were shown when they asked. Nobody at all is named in logs and spans.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from faults.checker.history import Delivery, Event, History, Kind, Problem, Shown
from faults.checker.routes import TOLD_TO_COLLABORATOR, collaborator_of
from ronghe.party.v1.party_pb2 import PersonalData

PERSONAL_FIELDS = ("name", "id_number", "mobile", "address")
OF_TASKS = ("GetTaskResponse", "ListTasksResponse")
OF_COLLABORATIONS = ("GetCollaborationResponse", "ListCollaborationsResponse")
WITH_PERSONAL_DATA = ("GetCaseResponse", "GetApplicationResponse", "GetDocumentResponse", "GetCollaborationResponse")
"""To those who may see the whole case."""
DIGIT = re.compile(rb"[0-9A-Fa-f]")
LEFT_OUT = ("receipt", "asks", "brief", "answer", "hops", "assignments")
"""Of collaborations in a list, and of their tasks."""


def check(history: History) -> Iterator[Problem]:
    """Look at everything, by what the applicant wrote and what the item says."""
    yield from _given(history)
    yield from _shown(history)
    yield from _written(history)


def _given(history: History) -> Iterator[Problem]:
    personal = {case_id: event.fact.application.personal for case_id, event in history.submissions.items()}
    asked = _asked(history)
    for delivery in history.deliveries:
        event, submitted = delivery.event, history.submissions.get(delivery.event.case_id)
        if submitted is None or delivery.receiver in _insiders(submitted):
            continue
        yield from _foreign(delivery)
        allowed = _allowed(event, submitted, asked)
        for field, text in _texts(personal[event.case_id]):
            if text.encode() in event.body and f"applicant.{field}" not in allowed and field not in allowed:
                yield _problem(delivery, f"shows the applicant's {field}")
        if event.name == "TaskAssigned":
            shown = {value.name for value in (*event.fact.brief.form, *event.fact.brief.personal.form)}
            yield from (_problem(delivery, f"shows the field {name}") for name in sorted(shown - allowed))


def _insiders(submitted: Event) -> frozenset[str]:
    """Who may see the whole case."""
    application = submitted.fact.application
    intake = application.intake_id
    return frozenset({f"organ/{application.lead.id}", f"intake/{intake}", f"terminal/{intake}"})


def _foreign(delivery: Delivery) -> Iterator[Problem]:
    event = delivery.event
    if delivery.receiver.startswith("center/"):
        if event.name not in ("TaskHeld", "TaskOverdue"):
            yield _problem(delivery, f"{event.name} is not for a center")
    elif (
        event.name not in TOLD_TO_COLLABORATOR | {"TaskSigned"}
        or delivery.receiver != f"organ/{collaborator_of(event)}"
    ):
        yield _problem(delivery, f"{event.name} is not for it")


def _allowed(event: Event, submitted: Event, beyond: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Names that the rule of this task discloses; beyond the rules, those that the lead named in this collaboration.

    Nothing personal where the organ is of another department than the rule's: the law lets that one see it.
    """
    if event.name != "TaskAssigned":
        return frozenset()
    item, brief = submitted.fact.application.item, event.fact.brief
    rules = {rule.id: rule.discloses for rule in item.collaborators}
    named = frozenset(rules.get(brief.rule, beyond.get(event.fact.collaboration_id, ())))
    if event.fact.organ.department == brief.department:
        return named
    personal = {field.name for field in item.form if field.personal}
    return frozenset(name for name in named - personal if not name.startswith("applicant."))


def _asked(history: History) -> Mapping[str, Sequence[str]]:
    """Collaboration -> what the lead lets those see whom it asks beyond the rules."""
    return {
        event.fact.collaboration.collaboration_id: _named(event)
        for event in history.own.values()
        if event.name == "CollaborationRequested"
    }


def _named(event: Event) -> Sequence[str]:
    """Fields that the lead lets those see whom it asks beyond the rules."""
    return [value.name for ask in event.fact.collaboration.asks if not ask.rule for value in ask.form]


def _texts(personal: PersonalData) -> Iterator[tuple[str, str]]:
    for field in PERSONAL_FIELDS:
        text = getattr(personal.applicant, field)
        if text:
            yield field, text
    for value in personal.form:
        if value.text:
            yield value.name, value.text


# --- what was written beside journals and topic ---


def _written(history: History) -> Iterator[Problem]:
    texts: defaultdict[tuple[str, int], set[bytes]] = defaultdict(set)
    for event in history.submissions.values():
        for field, text in _texts(event.fact.application.personal):
            texts[field, len(text.encode())].add(text.encode())
    for (field, length), found in texts.items():
        beginning = _beginning(found, length)
        for name, content in history.files.items():
            if any(content[place : place + length] in found for place in _places(content, beginning, length)):
                yield Problem(Kind.DISCLOSED, name, f"shows an applicant's {field}")


def _beginning(texts: Collection[bytes], length: int) -> bytes:
    """What all of them begin with; they have this length."""
    first, last = min(texts), max(texts)
    return first[: next((place for place in range(length) if first[place] != last[place]), length)]


def _places(content: bytes, beginning: bytes, length: int) -> Iterator[int]:
    """Where a text of this length may begin that begins so, and is no part of a longer number."""
    place = content.find(beginning)
    while place >= 0:
        around = content[max(place - 1, 0) : place] + content[place + length : place + length + 1]
        if not DIGIT.search(around):
            yield place
        place = content.find(beginning, place + 1)


# --- what onlookers were shown ---


@dataclass(frozen=True)
class _Rights:
    """Who may see what, by the facts: they say who was asked, and on which way."""

    cases: Mapping[str, str]
    """Id of a case, a collaboration or a task -> of the case."""
    ways: Mapping[str, Collection[str]]
    """Collaboration -> centers."""
    tasks: Mapping[str, Mapping[str, Collection[str]]]
    """Task -> those who have it or had it -> what it discloses to them."""


def _rights(history: History) -> _Rights:
    cases, asked = {case_id: case_id for case_id in history.submissions}, _asked(history)
    ways: defaultdict[str, set[str]] = defaultdict(set)
    tasks: defaultdict[str, dict[str, Collection[str]]] = defaultdict(dict)
    for event in history.own.values():
        submitted = history.submissions.get(event.case_id)
        if submitted is None or event.name not in ("TaskAssigned", "TaskRouted"):
            continue
        fact = event.fact
        cases |= {fact.collaboration_id: event.case_id, fact.task_id: event.case_id}
        if event.name == "TaskRouted":
            ways[fact.collaboration_id].add(fact.hop.to)
        else:
            tasks[fact.task_id][f"organ/{fact.organ.id}"] = _allowed(event, submitted, asked)
    return _Rights(cases, ways, tasks)


def _shown(history: History) -> Iterator[Problem]:
    if history.whole and history.by_case and not history.shown:
        yield Problem(Kind.DISCLOSED, "onlookers", "were shown nothing: who may see what was not looked at")
    rights = _rights(history)
    for shown in history.shown:
        for subject in _subjects(shown) & rights.cases.keys():
            submitted = history.submissions[rights.cases[subject]]
            yield from _beyond(rights, shown, subject, submitted)


def _beyond(rights: _Rights, shown: Shown, subject: str, submitted: Event) -> Iterator[Problem]:
    """What is shown of one thing to one who may not see it."""
    kind = shown.answer.DESCRIPTOR.name
    is_insider = shown.party in _insiders(submitted)
    allowed: Collection[str] = ()
    if kind in OF_TASKS:
        having = rights.tasks.get(subject, {})
        may_see = shown.party in having
        if kind == "GetTaskResponse":  # a list has no personal data
            allowed = having.get(shown.party, ())
            brief = shown.answer.task.brief  # type: ignore[attr-defined]
            beyond = {value.name for value in (*brief.form, *brief.personal.form)}.difference(allowed)
            yield from (_beyond_rights(shown, submitted, f"the field {name}") for name in sorted(beyond))
    else:
        may_see = is_insider or (kind in OF_COLLABORATIONS and shown.party in rights.ways.get(subject, ()))
    if not may_see:
        yield _beyond_rights(shown, submitted, "what is none of its business")
    if is_insider and kind in WITH_PERSONAL_DATA:
        return
    if kind == "ListCollaborationsResponse":
        lines = [line for line in _values(shown.answer, "collaborations") if line.collaboration_id == subject]
        details = (name for name in LEFT_OUT if any(any(_values(line, name)) for line in lines))
        yield from (_beyond_rights(shown, submitted, f"the {name}, which is not for a list") for name in details)
    whole = shown.answer.SerializeToString()
    for name, text in _texts(submitted.fact.application.personal):
        if text.encode() in whole and f"applicant.{name}" not in allowed and name not in allowed:
            yield _beyond_rights(shown, submitted, f"the applicant's {name}")


def _beyond_rights(shown: Shown, submitted: Event, what: str) -> Problem:
    return Problem(Kind.DISCLOSED, shown.party, f"{shown.answer.DESCRIPTOR.name} shows {what}", submitted.case_id)


def _subjects(shown: Shown) -> set[str]:
    """Ids of the things that the answer is about."""
    kind = shown.answer.DESCRIPTOR.name
    if kind in OF_TASKS:
        return set(_values(shown.answer, "task_id"))
    if kind in OF_COLLABORATIONS:
        return set(_values(shown.answer, "collaboration_id"))
    return {shown.case_id, *_values(shown.answer, "case_id")}


def _values(message: Message, name: str) -> Iterator[Any]:
    """Of all fields of this name, however deep."""
    for descriptor, value in message.ListFields():
        parts: Sequence[Any] = value if descriptor.is_repeated else [value]
        if descriptor.name == name:
            yield from parts
        elif descriptor.message_type is not None and not descriptor.message_type.GetOptions().map_entry:
            for part in parts:
                yield from _values(part, name)


def _problem(delivery: Delivery, what: str) -> Problem:
    return Problem(Kind.DISCLOSED, delivery.receiver, f"{delivery.event.name}: {what}", delivery.event.case_id)
