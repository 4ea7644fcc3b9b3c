"""Nobody is given what he may not see: a collaborator only its own tasks, and in them only what the item discloses."""

from collections.abc import Iterator, Mapping, Sequence

from faults.checker.history import Delivery, Event, History, Kind, Problem
from faults.checker.routes import TOLD_TO_COLLABORATOR, collaborator_of
from ronghe.party.v1.party_pb2 import PersonalData

PERSONAL_FIELDS = ("name", "id_number", "mobile", "address")


def check(history: History) -> Iterator[Problem]:
    """Look at every delivery, by what the applicant wrote and what the item says."""
    personal = {case_id: event.fact.application.personal for case_id, event in history.submissions.items()}
    asked = {
        event.fact.collaboration.collaboration_id: _named(event)
        for event in history.own.values()
        if event.name == "CollaborationRequested"
    }
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
    return frozenset({f"organ/{application.lead.id}", f"intake/{application.intake_id}"})


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
    """Names that the rule of this task discloses; beyond the rules, those that the lead named in this collaboration."""
    if event.name != "TaskAssigned":
        return frozenset()
    rules = {rule.id: rule.discloses for rule in submitted.fact.application.item.collaborators}
    return frozenset(rules.get(event.fact.brief.rule, beyond.get(event.fact.collaboration_id, ())))


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


def _problem(delivery: Delivery, what: str) -> Problem:
    return Problem(Kind.DISCLOSED, delivery.receiver, f"{delivery.event.name}: {what}", delivery.event.case_id)
