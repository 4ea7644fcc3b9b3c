"""Who says what: the types of facts by their owner."""

from typing import get_args

from bridge.record import HEAD
from ronghe.event.v1 import event_pb2 as event
from servers.case.fold import SaidByIntake, SaidByLead
from servers.collaboration.facts import AskedByLead, CollaborationFact

_BY_INTAKE = frozenset(fact.DESCRIPTOR.full_name for fact in get_args(SaidByIntake))
_TO_INTAKE = frozenset(fact.DESCRIPTOR.full_name for fact in get_args(SaidByLead))
_BY_LEAD = frozenset(fact.DESCRIPTOR.full_name for fact in get_args(SaidByLead | AskedByLead))
# Of what a lead says, only this concerns an organ that another department server may serve.
_FOR_COLLABORATORS = event.AnswerLate.DESCRIPTOR.full_name

OF_COLLABORATION = frozenset(fact.DESCRIPTOR.full_name for fact in get_args(CollaborationFact))
"""What organs and centers say to one another about a case."""


def concerns_intake(type_name: str) -> bool:
    """Whether facts of this type go to intake: what leads say of its cases, and heads of journals."""
    return type_name in _TO_INTAKE or type_name == HEAD


def is_said_by_intake(type_name: str) -> bool:
    """Whether facts of this type are intake's to say."""
    return type_name in _BY_INTAKE


def concerns_departments(type_name: str) -> bool:
    """Whether facts of this type, or of one not known yet, are taken in by department servers."""
    return type_name not in _BY_LEAD or type_name == _FOR_COLLABORATORS
