"""What follows at the lead when the applicant's acts reach it. These are acts of the server, at its own time."""

from collections.abc import Sequence

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from ronghe.case.v1 import case_pb2
from ronghe.event.v1 import event_pb2 as event
from servers.case import documents
from servers.department.asking import recall_open
from servers.department.limits import due_dates
from servers.kernel.stream import Facts
from servers.law.calendar import Calendar
from servers.law.days import legal_date

UNDECIDED = (case_pb2.STATE_SUBMITTED, case_pb2.STATE_CORRECTION_REQUESTED, case_pb2.STATE_ACCEPTED)


def on_supplement(
    case: case_pb2.Case, fact: event.Supplemented, now: Timestamp, calendar: Calendar
) -> event.SupplementReceived | event.SupplementLate:
    """A supplement counts while its notice waits for it; later it is kept, and marked."""
    notice = fact.supplement.notice_number
    if not case.open_notice or notice != case.open_notice:
        return event.SupplementLate(occurred_at=now, notice_number=notice)
    received = event.SupplementReceived(occurred_at=now, notice_number=notice)
    if case.state == case_pb2.STATE_ACCEPTED:
        _end_pause(case, received, legal_date(fact.supplement.supplied_at), calendar)
    return received


def _end_pause(case: case_pb2.Case, received: event.SupplementReceived, last: Date, calendar: Calendar) -> None:
    """The limits go on after the day on which the applicant supplied, however long that took to get here."""
    received.pause.CopyFrom(case.pauses[-1])
    received.pause.to.CopyFrom(last)
    pauses = [*case.pauses[:-1], received.pause]
    legal, promised = due_dates(case, documents.accepted_on(case), pauses, calendar)
    received.legal_due.CopyFrom(legal)
    received.promised_due.CopyFrom(promised)


def on_withdrawal(case: case_pb2.Case, now: Timestamp) -> Facts:
    """撤回: before the decision it ends the case, and what was asked about it; later there is nothing to withdraw."""
    if case.state in UNDECIDED:
        return [event.Withdrawn(occurred_at=now), *recall_open(case, now, "申请人已撤回申请")]
    return [event.WithdrawalDeclined(occurred_at=now, state=case.state)]


def on_answer(case: case_pb2.Case, fact: event.AnswerReceived, now: Timestamp) -> Sequence[Message]:
    """An answer that comes after the decision is kept, and marked."""
    if case.state in UNDECIDED or fact.late:
        return []
    return [
        event.AnswerLate(
            occurred_at=now,
            collaboration_id=fact.collaboration_id,
            lead_id=fact.lead_id,
            task_id=fact.task_id,
            organ_id=fact.organ.id,
            assignment=fact.assignment,
        )
    ]
