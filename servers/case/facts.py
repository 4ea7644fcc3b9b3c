"""Who says what: the types of facts by their owner."""

from typing import get_args

from servers.case.fold import SaidByIntake, SaidByLead
from servers.collaboration.facts import AskedByLead

_BY_INTAKE = frozenset(fact.DESCRIPTOR.full_name for fact in get_args(SaidByIntake))
_BY_LEAD = frozenset(fact.DESCRIPTOR.full_name for fact in get_args(SaidByLead | AskedByLead))


def is_said_by_intake(type_name: str) -> bool:
    """Whether facts of this type are intake's to say."""
    return type_name in _BY_INTAKE


def is_said_by_lead(type_name: str) -> bool:
    """Whether facts of this type are the lead's to say."""
    return type_name in _BY_LEAD
