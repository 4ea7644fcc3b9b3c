"""A timeline as a person reads it: what each event says in a few words, and under which request it stands."""

from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from ronghe.case.v1 import case_pb2
from ronghe.case.v1.case_service_pb2 import TimelineEntry
from ronghe.collaboration.v1.collaboration_pb2 import Answer
from ronghe.event.v1 import event_pb2 as event

Word = Callable[[Any, int], str]
Say = Callable[..., str]

UNDER_A_REQUEST = (
    event.CollaborationOpened
    | event.CollaborationRecallRequested
    | event.CollaborationConcluded
    | event.CollaborationRecalled
    | event.RecallDeclined
)
UNDER_A_TASK = (
    event.TaskRouted
    | event.TaskAssigned
    | event.TaskHeld
    | event.TaskSigned
    | event.TaskReminded
    | event.TaskOverdue
    | event.OpinionDeemed
    | event.TaskAnswered
    | event.TaskReturned
    | event.TaskRecalled
    | event.AnswerReceived
    | event.AnswerLate
)


def depth_of(fact: Message | None) -> int:
    """0 for what happens to the case, 1 and 2 for what follows from a request to collaborate, and for its tasks."""
    if isinstance(fact, UNDER_A_TASK):
        return 2
    return 1 if isinstance(fact, UNDER_A_REQUEST) else 0


def fact_of(entry: TimelineEntry) -> Message | None:
    """The entry's fact; None for a type of a later version."""
    return _unpacked(entry.fact)


def _unpacked(packed: AnyMessage) -> Message | None:
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(packed.TypeName())
    except KeyError:
        return None
    fact = message_factory.GetMessageClass(descriptor)()
    packed.Unpack(fact)
    return fact


def english(enum: Any, value: int) -> str:
    """A value of an enum of the contract in English words."""
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    return str(enum.Name(value)).removeprefix(prefix).lower().replace("_", " ")


def said(fact: Message | None, word: Word = english, say: Say = str.format) -> str:  # noqa: C901 - one arm a fact
    """What a fact says, in a few words; "" where its name says it all.

    `word` and `say` put values of enums and sentences into the reader's language.
    """
    match fact:
        case event.Submitted():
            return fact.application.item.code
        case event.CorrectionRequested():
            return fact.notice.number
        case event.Supplemented():
            return fact.supplement.notice_number
        case event.StepRecorded():
            return fact.step.name
        case event.Decided():
            return word(case_pb2.Outcome, fact.outcome)
        case event.CollaborationRequested():
            return ", ".join(ask.rule or ask.organ_id or ask.department for ask in fact.collaboration.asks)
        case event.CollaborationOpened():
            return say("{number}, coordinated by center/{center}", number=fact.event_no, center=fact.center_id)
        case event.TaskRouted() | event.TaskAssigned():
            start = getattr(fact.hop, "from")  # a keyword of Python
            return " ".join(filter(None, (f"{start} > {fact.hop.to}", fact.hop.remark)))
        case event.TaskHeld():
            return f"center/{fact.center_id}: {fact.reason}"
        case event.TaskAnswered():
            return f"{fact.organ_id}: {word(Answer.Opinion, fact.answer.opinion)}"
        case event.AnswerReceived():
            opinion = word(Answer.Opinion, fact.answer.opinion)
            return f"{fact.organ.id}: {say('{opinion} (late)', opinion=opinion) if fact.late else opinion}"
        case event.TaskReturned():
            return f"{fact.organ_id}: {fact.reason}"
        case event.TaskRecalled():
            return f"{fact.organ_id}: {fact.reason}"
        case event.TaskSigned() | event.TaskReminded() | event.TaskOverdue() | event.OpinionDeemed():
            return fact.organ_id
        case event.CollaborationRecallRequested() | event.CollaborationRecalled():
            return fact.reason
        case _:
            return ""
