"""Who may say what about a case: each kind of fact has one owner."""

from bridge.record import Record
from ronghe.case.v1 import case_pb2
from ronghe.event.v1 import event_pb2 as event
from servers.case.fold import SaidByIntake, SaidByLead
from servers.collaboration.facts import AskedByLead, FedBack
from servers.collaboration.ownership import may_coordinate


def may_open(case: case_pb2.Case, record: Record) -> bool:
    """An intake deployment opens a case, once."""
    fact = record.fact
    return (
        isinstance(fact, event.Submitted)
        and record.origin_kind == "intake"
        and not case.case_id
        and fact.application.case_id == record.case_id
    )


def may_go_on(case: case_pb2.Case, record: Record, intake_origin: str) -> bool:
    """The applicant's acts come from the intake deployment that opened the case."""
    return (
        isinstance(record.fact, SaidByIntake)
        and not isinstance(record.fact, event.Submitted)
        and bool(case.case_id)
        and record.origin == intake_origin
    )


def may_lead(case: case_pb2.Case, record: Record) -> bool:
    """The lead's acts come from the department deployment that serves the lead organ."""
    return (
        isinstance(record.fact, SaidByLead | AskedByLead)
        and bool(case.case_id)
        and record.origin == case.application.lead.deployment
    )


def may_feed_back(case: case_pb2.Case, record: Record) -> bool:
    """The center speaks of a collaboration that this case has."""
    return (
        isinstance(record.fact, FedBack)
        and may_coordinate(record)
        and any(one.collaboration_id == record.fact.collaboration_id for one in case.collaborations)
    )
