"""What the applicant may do after the submission: answer a correction notice, and withdraw."""

from collections import Counter
from collections.abc import Iterator, Set
from datetime import datetime

from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import ServiceItem
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from ronghe.intake.v1 import intake_service_pb2 as pb
from servers.case.rules import check_act, invalid_fields
from servers.catalog.forms import wrong_values
from servers.intake.submission import check_material_codes
from servers.kernel.stream import FieldViolation, Refused


def supplement(case: case_pb2.Case, command: pb.SupplementApplicationRequest, now: datetime) -> event.Supplemented:
    """补正: the open notice is answered, line by line. Raises Refused."""
    check_act(case, command, now, case_pb2.STATE_CORRECTION_REQUESTED, case_pb2.STATE_ACCEPTED)
    _check_notice(case, command.notice_number)
    _check_lines(_lines(case, command.notice_number), command)
    _check_contents(case.application.item, command)
    return event.Supplemented(
        occurred_at=command.occurred_at,
        actor=command.actor,
        supplement=case_pb2.Supplement(
            notice_number=command.notice_number,
            answers=command.answers,
            supplied_at=command.occurred_at,
            personal=command.personal if command.HasField("personal") else None,
        ),
        lead_id=case.application.lead.id,
        state=case.state,
    )


def _check_notice(case: case_pb2.Case, number: str) -> None:
    """A notice is answered once, also while the answer is still on its way to the lead."""
    answered = any(supplement.notice_number == case.open_notice for supplement in case.supplements)
    waiting = "" if answered else case.open_notice
    if number != waiting:
        raise Refused(
            Reason.REASON_NOTICE_NOT_OPEN,
            f"the notice that waits for an answer is {waiting}" if waiting else "no notice waits for an answer",
            {"open_notice": waiting},
        )


def _lines(case: case_pb2.Case, notice: str) -> Set[int]:
    return {line.line for document in case.documents if document.number == notice for line in document.lines}


def _check_lines(asked: Set[int], command: pb.SupplementApplicationRequest) -> None:
    """Every line once, and no other."""
    answered = Counter(answer.line for answer in command.answers)
    violations = [
        FieldViolation(f"answers[{index}].line", "is no line of the notice, or is answered twice")
        for index, answer in enumerate(command.answers)
        if answer.line not in asked or answered[answer.line] > 1
    ]
    if violations:
        raise invalid_fields(violations)
    left = sorted(asked - answered.keys())
    if left:
        lines = ",".join(map(str, left))
        raise Refused(Reason.REASON_LINE_UNANSWERED, f"lines {lines} of the notice have no answer", {"lines": lines})


def _check_contents(item: ServiceItem, command: pb.SupplementApplicationRequest) -> None:
    """Only what the item knows, by the version that was applied for."""
    known = {rule.code for rule in item.materials}
    for index, answer in enumerate(command.answers):
        check_material_codes(known, answer.materials, f"answers[{index}].materials")
    violations = [*_wrong_answers(item, command), *wrong_values(item.form, command.personal.form, personal=True)]
    if violations:
        raise invalid_fields(violations, Reason.REASON_INVALID_FORM)


def _wrong_answers(item: ServiceItem, command: pb.SupplementApplicationRequest) -> Iterator[FieldViolation]:
    for index, answer in enumerate(command.answers):
        for violation in wrong_values(item.form, answer.form, personal=False):
            yield FieldViolation(f"answers[{index}].{violation.field}", violation.description)


def request_withdrawal(
    case: case_pb2.Case, command: pb.RequestWithdrawalRequest, now: datetime
) -> event.WithdrawalRequested:
    """撤回: until the decision is known here; the lead says whether it came in time. Raises Refused."""
    check_act(
        case, command, now, case_pb2.STATE_SUBMITTED, case_pb2.STATE_CORRECTION_REQUESTED, case_pb2.STATE_ACCEPTED
    )
    if case.withdrawal == case_pb2.WITHDRAWAL_STATUS_REQUESTED:
        raise Refused(
            Reason.REASON_WITHDRAWAL_PENDING, "a withdrawal is already on its way to the lead: wait for its answer"
        )
    return event.WithdrawalRequested(
        occurred_at=command.occurred_at,
        actor=command.actor,
        reason=command.reason,
        lead_id=case.application.lead.id,
    )
