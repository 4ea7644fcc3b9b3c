"""The one fold of facts into a case; all three subsystems use it, so that they agree.

A journal keeps each owner's facts in their order and every cause before its effect, but facts of different owners
that do not know of each other may stand either way around. Hence each field below is set by one owner only: intake's
facts add supplements and a withdrawal's request, the lead's facts set everything else. `withdrawal`, a supplement's
`late` and the standings of collaborations are the exception, and there one owner's fact is an effect of the other's, so
it comes second everywhere.
"""

from typing import assert_never, get_args

from google.protobuf.timestamp_pb2 import Timestamp

from bridge.record import Record
from ronghe.case.v1 import case_pb2 as pb
from ronghe.event.v1 import event_pb2 as event
from servers.collaboration import standing
from servers.collaboration.facts import AskedByLead, FedBack
from servers.law.days import legal_date

SaidByIntake = event.Submitted | event.Supplemented | event.WithdrawalRequested
SaidByLead = (
    event.Accepted
    | event.AcceptanceRefused
    | event.CorrectionRequested
    | event.SupplementReceived
    | event.SupplementLate
    | event.StepRecorded
    | event.Decided
    | event.Withdrawn
    | event.WithdrawalDeclined
    | event.Closed
)
CaseFact = SaidByIntake | SaidByLead | AskedByLead | FedBack
Reaction = event.SupplementReceived | event.SupplementLate | event.Withdrawn | event.WithdrawalDeclined
"""What the applicant's acts lead to: acts of a server, not of a person."""
_ACTS_OF_SERVERS = frozenset(get_args(Reaction | FedBack | event.AnswerLate))


def fold(case: pb.Case, record: Record, version: int) -> None:
    """Take one record into the case; `version` counts the records taken in. A fact not known here only counts."""
    case.version = version
    fact = record.fact
    if isinstance(fact, CaseFact):
        if isinstance(fact, AskedByLead | FedBack):
            standing.fold(case.collaborations, fact)
        else:
            _apply(case, fact)
        if is_act(fact):
            _note_act(case, fact.occurred_at)


def is_act(fact: CaseFact) -> bool:
    """Whether a person did it to this case, at a legal time of his own."""
    if isinstance(fact, event.CollaborationRecallRequested):
        return fact.HasField("officer")
    return type(fact) not in _ACTS_OF_SERVERS


def _apply(case: pb.Case, fact: SaidByIntake | SaidByLead) -> None:  # noqa: C901 - one arm a fact
    match fact:
        case event.Submitted():
            _open(case, fact)
        case event.Supplemented():
            case.supplements.append(fact.supplement)
        case event.WithdrawalRequested():
            case.withdrawal = pb.WITHDRAWAL_STATUS_REQUESTED
        case event.Accepted():
            _accept(case, fact)
        case event.AcceptanceRefused():
            case.documents.append(fact.refusal)
            _end(case, pb.OUTCOME_ACCEPTANCE_REFUSED, fact.occurred_at)
        case event.CorrectionRequested():
            _ask_for_correction(case, fact)
        case event.SupplementReceived():
            _receive_supplement(case, fact)
        case event.SupplementLate():
            _mark_late(case, fact.notice_number)
        case event.StepRecorded():
            case.steps.append(fact.step)
        case event.Decided():
            _decide(case, fact)
        case event.Withdrawn():
            case.withdrawal = pb.WITHDRAWAL_STATUS_WITHDRAWN
            _end(case, pb.OUTCOME_WITHDRAWN, fact.occurred_at)
        case event.WithdrawalDeclined():
            case.withdrawal = pb.WITHDRAWAL_STATUS_DECLINED
        case event.Closed():
            case.state = pb.STATE_CLOSED
        case _:
            assert_never(fact)


def _open(case: pb.Case, fact: event.Submitted) -> None:
    case.case_id = fact.application.case_id
    case.case_no = fact.application.case_no
    case.state = pb.STATE_SUBMITTED
    case.application.CopyFrom(fact.application)
    case.documents.append(fact.voucher)


def _accept(case: pb.Case, fact: event.Accepted) -> None:
    case.state = pb.STATE_ACCEPTED
    case.documents.append(fact.receipt)
    case.judgement.CopyFrom(fact.judgement)
    case.deferred_materials[:] = fact.deferred_materials
    case.legal_due.CopyFrom(fact.receipt.legal_due)
    case.promised_due.CopyFrom(fact.receipt.promised_due)


def _ask_for_correction(case: pb.Case, fact: event.CorrectionRequested) -> None:
    case.documents.append(fact.notice)
    case.open_notice = fact.notice.number
    if fact.HasField("pause"):
        case.pauses.append(fact.pause)
    else:
        case.state = pb.STATE_CORRECTION_REQUESTED


def _receive_supplement(case: pb.Case, fact: event.SupplementReceived) -> None:
    case.open_notice = ""
    _take_deferred_materials(case, fact.notice_number)
    if fact.HasField("pause"):
        case.pauses[-1].CopyFrom(fact.pause)
        case.legal_due.CopyFrom(fact.legal_due)
        case.promised_due.CopyFrom(fact.promised_due)
    else:
        case.state = pb.STATE_SUBMITTED


def _take_deferred_materials(case: pb.Case, notice_number: str) -> None:
    supplied = {
        material.code
        for supplement in case.supplements
        if supplement.notice_number == notice_number
        for answer in supplement.answers
        for material in answer.materials
    }
    case.deferred_materials[:] = [code for code in case.deferred_materials if code not in supplied]


def _mark_late(case: pb.Case, notice_number: str) -> None:
    for supplement in case.supplements:
        if supplement.notice_number == notice_number:
            supplement.late = True


def _decide(case: pb.Case, fact: event.Decided) -> None:
    case.documents.append(fact.decision)
    _finish(case, fact.outcome, fact.occurred_at)
    case.state = pb.STATE_DECIDED


def _end(case: pb.Case, outcome: "pb.Outcome.ValueType", at: Timestamp) -> None:
    _finish(case, outcome, at)
    case.state = pb.STATE_CLOSED


def _finish(case: pb.Case, outcome: "pb.Outcome.ValueType", at: Timestamp) -> None:
    """Nothing is waited for any more, and no clock runs that could pause."""
    case.outcome = outcome
    case.open_notice = ""
    if case.pauses and not case.pauses[-1].HasField("to"):
        case.pauses[-1].to.CopyFrom(legal_date(at))


def _note_act(case: pb.Case, at: Timestamp) -> None:
    """Legal time of the latest act; facts of different owners may come in either order."""
    if at.ToNanoseconds() > case.last_act_at.ToNanoseconds():
        case.last_act_at.CopyFrom(at)
