"""What a collaborating organ may do with a task: from a command to the fact that follows."""

from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CO_APPROVAL, COLLABORATION_KIND_JOINT_SITE_VISIT
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Answer, CoApproval, Task
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from ronghe.state.v1.state_pb2 import TaskState
from servers.case.acts import ActOfOfficer
from servers.case.rules import illegal_state, invalid_fields
from servers.catalog.catalog import Catalog
from servers.kernel.occurred_at import CLOCK_TOLERANCE, check_occurred_at
from servers.kernel.stream import FieldViolation, Refused
from servers.law.calendar import Calendar
from servers.law.clock import due_date
from servers.law.days import legal_date, legal_day


def sign_for(state: TaskState, command: pb.SignForTaskRequest, now: datetime, calendar: Calendar) -> event.TaskSigned:
    """签收: from here the organ has its time to answer."""
    _check(state.task, command, now, Task.STATE_ASSIGNED)
    return event.TaskSigned(
        **envelope(state, command.occurred_at),
        officer=command.actor,
        reply_due=due_date(legal_date(command.occurred_at), state.task.brief.reply_limit, [], calendar),
    )


def answer(state: TaskState, command: pb.AnswerTaskRequest, now: datetime) -> event.TaskAnswered:
    """反馈: an express answer, with what its kind of collaboration asks for."""
    _check(state.task, command, now, Task.STATE_SIGNED)
    _check_answer(state.task, command.answer)
    fact = event.TaskAnswered(
        **envelope(state, command.occurred_at),
        answer=command.answer,
    )
    fact.answer.officer.CopyFrom(command.actor)
    fact.answer.answered_at.CopyFrom(command.occurred_at)
    fact.answer.ClearField("deemed")  # whoever answers has not kept silent: what the server sets is not the caller's
    return fact


def give_back(state: TaskState, command: pb.ReturnTaskRequest, now: datetime, catalog: Catalog) -> event.TaskReturned:
    """退回: it is not this organ's duty; whose it is, the organ says where it knows."""
    _check(state.task, command, now, Task.STATE_ASSIGNED, Task.STATE_SIGNED)
    if command.suggested_organ_id:
        catalog.organ(command.suggested_organ_id, legal_day(now))
    if command.suggested_organ_id == state.task.organ.id:
        raise invalid_fields([FieldViolation("suggested_organ_id", "is the organ that returns it")])
    return event.TaskReturned(
        **envelope(state, command.occurred_at),
        officer=command.actor,
        reason=command.reason,
        suggested_organ_id=command.suggested_organ_id,
    )


def envelope(state: TaskState, at: Timestamp) -> dict[str, Any]:
    """What every fact about a task carries."""
    return {
        "occurred_at": at,
        "collaboration_id": state.task.collaboration_id,
        "lead_id": state.lead_id,
        "task_id": state.task.task_id,
        "assignment": state.task.assignment,
        "organ_id": state.task.organ.id,
    }


def not_found() -> Refused:
    """No such task, or another organ's: both answer alike."""
    return Refused(Reason.REASON_TASK_NOT_FOUND, "there is no such task among yours: see ListTasks")


def _check(task: Task, command: ActOfOfficer, now: datetime, *legal: "Task.State.ValueType") -> None:
    if not task.task_id:
        raise not_found()
    if task.state not in legal:
        names = [Task.State.Name(one).removeprefix("STATE_") for one in (task.state, *legal)]
        raise illegal_state("task", command, *names)
    check_occurred_at(command.occurred_at, _earliest(task), now)


def _earliest(task: Task) -> Timestamp:
    """The organ's latest act on it, or the assignment: that is the server's, on a clock of its own.

    A sign-in by time is nobody's act: what an officer did before may come after it.
    """
    if task.HasField("signed_by"):
        return task.signed_at
    earliest = Timestamp()
    earliest.FromDatetime(task.assigned_at.ToDatetime(UTC) - CLOCK_TOLERANCE)
    return earliest


def _check_answer(task: Task, given: Answer) -> None:
    needs_more = given.opinion == Answer.OPINION_NEED_MORE_MATERIAL
    violations = []
    if task.brief.kind == COLLABORATION_KIND_CO_APPROVAL and not needs_more:
        violations += _faults_of_result(given)
    elif given.HasField("co_approval"):
        violations.append(FieldViolation("answer.co_approval", "comes with a co-approval that agrees or disagrees"))
    if task.brief.kind == COLLABORATION_KIND_JOINT_SITE_VISIT and not needs_more and not given.HasField("visited_at"):
        violations.append(FieldViolation("answer.visited_at", "a joint site visit says when the site was visited"))
    if violations:
        raise invalid_fields(violations)


def _faults_of_result(given: Answer) -> list[FieldViolation]:
    if not given.HasField("co_approval"):
        return [FieldViolation("answer.co_approval", "a co-approval carries the organ's own result")]
    agrees = given.opinion != Answer.OPINION_DISAGREE
    expected = CoApproval.RESULT_GRANTED if agrees else CoApproval.RESULT_DENIED
    if given.co_approval.result != expected:
        name = CoApproval.Result.Name(expected).removeprefix("RESULT_")
        return [FieldViolation("answer.co_approval.result", f"must be {name}, as the opinion says")]
    return []
