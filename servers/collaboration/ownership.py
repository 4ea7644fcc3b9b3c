"""Who may say what about a collaboration."""

from bridge.record import Record
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration
from ronghe.event.v1 import event_pb2 as event
from servers.collaboration.facts import SaidByCenter, SaidByCollaborator
from servers.collaboration.fold import task_of


def may_ask(collaboration: Collaboration, record: Record) -> bool:
    """The lead's facts come from the deployment that serves the lead; it asks once."""
    match record.fact:
        case event.CollaborationRequested(collaboration=asked):
            return not collaboration.collaboration_id and record.origin == asked.lead.deployment
        case event.CollaborationRecallRequested() | event.AnswerLate():
            return record.origin == collaboration.lead.deployment
        case _:
            return False


def may_coordinate(record: Record) -> bool:
    """The centers of a city share one governance deployment."""
    return isinstance(record.fact, SaidByCenter) and record.origin_kind == "governance"


def may_collaborate(collaboration: Collaboration, record: Record) -> bool:
    """A collaborator speaks for the organ to which the task was assigned then."""
    fact = record.fact
    return isinstance(fact, SaidByCollaborator) and any(
        one.number == fact.assignment and one.organ.id == fact.organ_id and one.organ.deployment == record.origin
        for one in task_of(collaboration, fact.task_id).assignments
    )
