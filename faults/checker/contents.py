"""What a caller asked for stands in the fact that its request led to: every value of it, whatever the field is called.

A form's field, a material, a place is one value; of what holds more than that, each part is.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any
from uuid import UUID

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from faults.checker.history import Event, History, Kind, Problem, parse
from faults.checker.routes import EFFECTS
from ronghe.case.v1.case_pb2 import OUTCOME_DENIED, OUTCOME_GRANTED
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.governance.v1 import governance_service_pb2 as governance
from ronghe.intake.v1 import intake_service_pb2 as intake

Value = tuple[str, str]
"""Its type, and what it says."""

REQUESTS: Mapping[str, Any] = {
    name: getattr(service, name)
    for service in (collaboration, department, governance, intake)
    for name in service.DESCRIPTOR.message_types_by_name
}
OUTCOMES = {"granted": OUTCOME_GRANTED, "denied": OUTCOME_DENIED}
ONE_VALUE = ("google.protobuf.Timestamp", "google.type.Date")
ONLY_FOR_THE_REQUEST = frozenset(
    {
        "ronghe.department.v1.DecideApplicationRequest.Citation.round",
        # Shown by the values that the case has of these fields.
        "ronghe.collaboration.v1.RequestCollaborationRequest.Other.discloses",
        # Filled in by the server, whatever the caller wrote there.
        "ronghe.case.v1.Step.officer",
        "ronghe.collaboration.v1.Answer.officer",
        "ronghe.collaboration.v1.Answer.answered_at",
        "ronghe.collaboration.v1.Answer.deemed",
    }
)
OF_EVERY_REQUEST = ("request_id", "if_version")
NOT_ON_THE_WAY = ("organ_id", "center_id")
"""A hop names its own end only."""


def check(history: History) -> Iterator[Problem]:
    """Compare each fact with its request, at its origin."""
    for request in history.requests:
        for event in history.effects.get(request.mark, ()):
            if event.name in EFFECTS[request.command] and event.id not in history.poison:
                yield from _compared(REQUESTS[request.command].FromString(request.body), event)


def _compared(asked: Any, event: Event) -> Iterator[Problem]:
    fact = parse(event.type, event.body)
    for message in (asked, fact):  # what this version does not know is in neither's values
        message.DiscardUnknownFields()
    held = {*_held(fact), ("text", event.case_id)}
    left_out = NOT_ON_THE_WAY if event.name == "TaskRouted" else ()
    missing = sorted({field for field, value in _asked(asked, left_out) if value not in held})
    if missing:
        yield _problem(event, f"does not hold what was asked for: {', '.join(missing)}")
    if event.name == "Decided" and fact.outcome != OUTCOMES.get(asked.WhichOneof("decision")):
        yield _problem(event, f"is not what was decided: {asked.WhichOneof('decision')}")
    if event.name == "Accepted" and not _is_as_judged(asked, fact.judgement):
        yield _problem(event, f"is not what was judged: {asked.WhichOneof('collaboration')}")


def _is_as_judged(asked: Any, judgement: Any) -> bool:
    match asked.WhichOneof("collaboration"):
        case "none":
            return not judgement.collaboration_needed and not judgement.rules_to_ask
        case "as_proposed":
            return bool(judgement.rules_to_ask == judgement.proposed_by_rules)
        case _:
            return set(judgement.rules_to_ask) == set(asked.explicit.rules)


def _asked(message: Message, left_out: Collection[str]) -> Iterator[tuple[str, Value]]:
    """Every value that is set, with the name of its field."""
    for field, part in _parts(message):
        if field.full_name in ONLY_FOR_THE_REQUEST or field.name in (*OF_EVERY_REQUEST, *left_out):
            continue
        if field.message_type is None or _is_one_value(field.message_type):
            yield field.name, _value(field, part)
        else:
            yield from _asked(part, left_out)


def _held(message: Message) -> Iterator[Value]:
    """Every value that is set: what holds others, and those as well."""
    for field, part in _parts(message):
        yield _value(field, part)
        if field.message_type is not None:
            yield from _held(part)


def _parts(message: Message) -> Iterator[tuple[FieldDescriptor, Any]]:
    for field, content in message.ListFields():
        for part in content if field.is_repeated else [content]:
            yield field, part


def _value(field: FieldDescriptor, content: Any) -> Value:
    if field.message_type is not None:
        return field.message_type.full_name, content.SerializeToString(deterministic=True).hex()
    if field.enum_type is not None:
        return field.enum_type.full_name, str(content)
    if isinstance(content, str):
        return "text", _canonical(content)
    return type(content).__name__, str(content)


def _is_one_value(kind: Descriptor) -> bool:
    """Whether it is a time or a date, or a message of facts as well as of requests without others in it."""
    if kind.full_name in ONE_VALUE:
        return True
    is_of_requests = kind.file.name.endswith("_service.proto")
    parts = (field.message_type for field in kind.fields if field.message_type is not None)
    return not is_of_requests and all(part.full_name in ONE_VALUE for part in parts)


def _canonical(text: str) -> str:
    """Ids are written in lower case, however they were sent."""
    try:
        UUID(text)
    except ValueError:
        return text
    return text.lower()


def _problem(event: Event, what: str) -> Problem:
    return Problem(Kind.ALTERED, "contents", f"{event.name} {event.id} {what}", event.case_id)
