"""What the lead organ may do with a case: from a command to the fact that follows, as 行政许可法 has it."""

from datetime import date, datetime
from typing import Literal

from google.type.date_pb2 import Date

from ronghe.case.v1 import case_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.department.v1 import department_service_pb2 as pb
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from servers.case import documents
from servers.case.rules import check_act, invalid_fields
from servers.catalog.catalog import Catalog
from servers.department import answers
from servers.department.asking import recall_open
from servers.department.judgement import judgement
from servers.department.limits import due_dates
from servers.kernel.stream import Facts, FieldViolation, Refused
from servers.law.calendar import Calendar
from servers.law.days import legal_date, to_date

Command = (
    pb.AcceptApplicationRequest
    | pb.RefuseAcceptanceRequest
    | pb.RequestCorrectionRequest
    | pb.RecordStepRequest
    | pb.DecideApplicationRequest
    | pb.CloseCaseRequest
    | collaboration.RequestCollaborationRequest
    | collaboration.RecallCollaborationRequest
)


def check_version(case: case_pb2.Case, command: Command) -> None:
    """What the officer saw must still be so, where he says what he saw. Raises Refused: CASE_CHANGED."""
    if command.if_version in (0, case.version):
        return
    raise Refused(
        Reason.REASON_CASE_CHANGED,
        f"the case is at version {case.version}, not {command.if_version}: read it again, and decide again",
        {"version": str(case.version)},
    )


def accept(
    case: case_pb2.Case, command: pb.AcceptApplicationRequest, now: datetime, catalog: Catalog, calendar: Calendar
) -> event.Accepted:
    """受理 (art. 32 (1) no. 5): the limits begin, and the lead says whether it must ask others."""
    check_act(case, command, now, case_pb2.STATE_SUBMITTED)
    _check_deferred(case, command)
    legal, promised = due_dates(case, legal_date(command.occurred_at), [], calendar)
    return event.Accepted(
        occurred_at=command.occurred_at,
        officer=command.actor,
        receipt=documents.acceptance_receipt(case, command, legal, promised),
        judgement=judgement(case, command, catalog),
        deferred_materials=command.deferred_materials,
    )


def _check_deferred(case: case_pb2.Case, command: pb.AcceptApplicationRequest) -> None:
    """容缺受理: only what the item allows to follow, and only what is missing; nothing else may be missing."""
    deferrable = {rule.code for rule in case.application.item.materials if rule.deferrable}
    received = documents.received_materials(case)
    violations = []
    for index, code in enumerate(command.deferred_materials):
        if code not in deferrable:
            violations.append(FieldViolation(f"deferred_materials[{index}]", f"the item does not let {code} follow"))
        elif code in received:
            violations.append(FieldViolation(f"deferred_materials[{index}]", f"{code} is not missing"))
    if violations:
        raise invalid_fields(violations)
    required = [rule.code for rule in case.application.item.materials if rule.required]
    missing = [code for code in required if code not in received and code not in command.deferred_materials]
    if missing:
        raise Refused(
            Reason.REASON_MATERIAL_MISSING,
            f"{', '.join(missing)} is missing: request a correction, or let it follow under deferred_materials",
            {"material": ",".join(missing)},
            [FieldViolation("deferred_materials", f"has not {', '.join(missing)}")],
        )


def refuse_acceptance(
    case: case_pb2.Case, command: pb.RefuseAcceptanceRequest, now: datetime
) -> event.AcceptanceRefused:
    """不予受理 (art. 32 (1) nos. 1 and 2): it ends the case."""
    check_act(case, command, now, case_pb2.STATE_SUBMITTED, case_pb2.STATE_CORRECTION_REQUESTED)
    return event.AcceptanceRefused(
        occurred_at=command.occurred_at,
        officer=command.actor,
        refusal=documents.acceptance_refusal(case, command),
    )


def request_correction(
    case: case_pb2.Case, command: pb.RequestCorrectionRequest, now: datetime
) -> event.CorrectionRequested:
    """补正 (art. 32 (1) no. 4): every defect at once, so there is one notice at a time."""
    if case.open_notice:
        raise _correction_open(case)
    check_act(case, command, now, case_pb2.STATE_SUBMITTED, case_pb2.STATE_ACCEPTED)
    fact = event.CorrectionRequested(
        occurred_at=command.occurred_at,
        officer=command.actor,
        notice=documents.correction_notice(case, command),
    )
    if case.state == case_pb2.STATE_ACCEPTED:
        fact.pause.CopyFrom(_correction_pause(legal_date(command.occurred_at)))
    return fact


def _correction_pause(first: Date) -> case_pb2.Pause:
    """The limits do not run while the applicant corrects."""
    pause = case_pb2.Pause(kind=case_pb2.Pause.KIND_CORRECTION, basis="行政许可法第三十二条、第四十五条")
    getattr(pause, "from").CopyFrom(first)  # a keyword of Python
    return pause


def record_step(case: case_pb2.Case, command: pb.RecordStepRequest, now: datetime) -> event.StepRecorded:
    """审查 (art. 34): a step, signed by whoever took it."""
    check_act(case, command, now, case_pb2.STATE_ACCEPTED)
    fact = event.StepRecorded(occurred_at=command.occurred_at, step=command.step)
    fact.step.officer.CopyFrom(command.actor)
    return fact


def decide(case: case_pb2.Case, command: pb.DecideApplicationRequest, now: datetime, catalog: Catalog) -> Facts:
    """审批决定 (arts 37, 38): in writing; who is denied is told why, and what he can do. Open collaborations end."""
    check_act(case, command, now, case_pb2.STATE_ACCEPTED)
    answers.check_decision(case, command, catalog)
    opinions = answers.opinions(case, command)
    if command.HasField("granted"):
        _check_grant(case, command.granted)
        outcome = case_pb2.OUTCOME_GRANTED
        decision = documents.decision_granted(case, command, answers.conditions(case), opinions)
    else:
        outcome, decision = case_pb2.OUTCOME_DENIED, documents.decision_denied(case, command, opinions)
    decided = event.Decided(
        occurred_at=command.occurred_at,
        officer=command.actor,
        outcome=outcome,
        decision=decision,
        collaborations=[citation.collaboration_id.lower() for citation in command.citations],
        overridden=[
            event.Decided.Overridden(task_id=override.task_id.lower(), explanation=override.explanation)
            for override in command.overrides
        ],
    )
    return [decided, *recall_open(case, command.occurred_at, "案件已作出决定")]


def _check_grant(case: case_pb2.Case, granted: pb.DecideApplicationRequest.Granted) -> None:
    if case.open_notice:
        raise _correction_open(case)
    if case.deferred_materials:
        raise Refused(
            Reason.REASON_DEFERRED_MATERIAL_MISSING,
            f"{', '.join(case.deferred_materials)} was to follow and has not: request it by a correction, or deny",
            {"material": ",".join(case.deferred_materials)},
        )
    days = [_day(granted, name) for name in ("valid_from", "valid_to") if granted.HasField(name)]
    if days != sorted(days):
        raise invalid_fields([FieldViolation("granted.valid_to", "lies before valid_from")])


def _day(granted: pb.DecideApplicationRequest.Granted, name: Literal["valid_from", "valid_to"]) -> date:
    try:
        return to_date(getattr(granted, name))
    except ValueError as error:
        raise invalid_fields([FieldViolation(f"granted.{name}", "is no day of the calendar")]) from error


def close(case: case_pb2.Case, command: pb.CloseCaseRequest, now: datetime) -> event.Closed:
    """办结."""
    check_act(case, command, now, case_pb2.STATE_DECIDED)
    return event.Closed(occurred_at=command.occurred_at, officer=command.actor)


def _correction_open(case: case_pb2.Case) -> Refused:
    return Refused(
        Reason.REASON_CORRECTION_OPEN,
        f"the notice {case.open_notice} waits for its answer: wait for the supplement, or deny",
        {"open_notice": case.open_notice},
    )
