"""What a collaborator is asked and what it answers, as people read it."""

from collections.abc import Sequence

from clients.cli.language import say
from clients.cli.output import day, moment, word
from ronghe.catalog.v1 import catalog_pb2
from ronghe.collaboration.v1 import collaboration_pb2 as pb
from ronghe.document.v1.document_pb2 import DueDate
from ronghe.party.v1.party_pb2 import FormValue, Officer

Pairs = Sequence[tuple[str, object]]
SILENCE = {
    catalog_pb2.SILENCE_POLICY_DEEMED_AGREED: "counts as agreement",
    catalog_pb2.SILENCE_POLICY_ESCALATE: "is no answer: a reminder comes, then the tier above",
    catalog_pb2.SILENCE_POLICY_BLOCK: "is no answer: the case is not granted without one",
}


def due(date: DueDate) -> str:
    """A last day; "" when there is none."""
    return say("{day} (provisional)", day=day(date.date)) if date.provisional else day(date.date)


def limit(length: catalog_pb2.Limit) -> str:
    """A length of time, for example "5 working days"."""
    if not length.value:
        return ""
    unit = word(catalog_pb2.Limit.Unit, length.unit)
    if length.value == 1:
        return say("{count} {unit}", count=1, unit=unit)
    return say("{count} {unit}s", count=length.value, unit=unit)


def organ(found: catalog_pb2.Organ) -> str:
    """An organ with its name."""
    return f"{found.id} {found.name}".strip()


def kind(value: int) -> str:
    """The form of a collaboration."""
    return word(catalog_pb2.CollaborationKind, value)


def places(found: Sequence[catalog_pb2.Place]) -> str:
    """Divisions, each with its grid and its words."""
    return "; ".join(" ".join(filter(None, (each.division, each.grid_id, each.description))) for each in found)


def category(found: catalog_pb2.EventCategory) -> str:
    """A code with its scheme: different schemes use the same digits."""
    return f"{found.code} {found.name} ({found.scheme})" if found.code else ""


def value(answer: FormValue) -> str:
    """One answer of a form."""
    match answer.WhichOneof("value"):
        case "date":
            return day(answer.date)
        case "flag":
            return say("yes") if answer.flag else say("no")
        case "number":
            return f"{answer.number:g}"
        case _:
            return answer.text


def silence(asked: pb.Brief | catalog_pb2.Collaborator) -> str:
    """What it means not to answer in time."""
    meant = say(SILENCE[asked.silence_policy]) if asked.silence_policy in SILENCE else ""
    return f"{meant}: {asked.silence_basis}" if asked.silence_basis else meant


def in_short(answer: pb.Answer, *, late: bool) -> str:
    """An answer in one line; "" while there is none."""
    opinion = word(pb.Answer.Opinion, answer.opinion)
    points = "; ".join((*answer.conditions, *answer.reasons, *answer.needs))
    return ": ".join(
        filter(None, (say("{opinion} (late)", opinion=opinion) if late else opinion, points or answer.text))
    )


def in_full(task: pb.Task) -> Pairs:
    """The answer of a task, a pair for each thing said; none while there is none."""
    if not task.HasField("answer"):
        return []
    answer = task.answer
    opinion = word(pb.Answer.Opinion, answer.opinion)
    return [
        ("answer", say("{opinion}, too late to count", opinion=opinion) if task.answer_late else opinion),
        ("in words", answer.text),
        *(("condition", each) for each in answer.conditions),
        *(("reason", each) for each in answer.reasons),
        *(("needed", each) for each in answer.needs),
        ("own result", _result(answer.co_approval)),
        ("site visited", moment(answer.visited_at)),
        ("answered by", signature(answer.officer, moment(answer.answered_at))),
    ]


def signature(officer: Officer, when: str) -> str:
    """Who did something, and when; "" when nobody did."""
    return ", ".join(filter(None, (officer.name, when)))


def _result(own: pb.CoApproval) -> str:
    if not own.document_number:
        return ""
    given = say(
        "{result} by {number} of {day}",
        result=word(pb.CoApproval.Result, own.result),
        number=own.document_number,
        day=day(own.issued_on),
    )
    paper = own.certificate
    return f"{given}, {paper.name} {paper.number}" if paper.number else given
