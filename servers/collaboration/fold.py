"""The one fold of facts into a collaboration; the center and the lead use it, so that they agree."""

from typing import assert_never

from google.protobuf.timestamp_pb2 import Timestamp

from bridge.record import Record
from ronghe.collaboration.v1.collaboration_pb2 import Answer, Assignment, Collaboration, Task
from ronghe.event.v1 import event_pb2 as event
from servers.collaboration.facts import CollaborationFact, SaidByCollaborator

ENDED = (Task.STATE_ANSWERED, Task.STATE_RECALLED)
"""States of a task in which nothing is waited for."""

AT_NO_ORGAN = (Task.STATE_WAITING_FOR_OFFICER, Task.STATE_RECALLED)
"""States in which a task was taken from the organ that had it last."""


def fold(collaboration: Collaboration, record: Record, version: int) -> None:
    """Take one record into the collaboration; a fact not known here only counts."""
    collaboration.version = version
    if isinstance(record.fact, CollaborationFact):
        _apply(collaboration, record.fact)
        collaboration.version = version


def _apply(collaboration: Collaboration, fact: CollaborationFact) -> None:  # noqa: C901 - one arm a fact
    match fact:
        case event.CollaborationRequested():
            collaboration.CopyFrom(fact.collaboration)
        case event.CollaborationRecallRequested():
            collaboration.recall_reason = fact.reason
        case event.CollaborationOpened():
            _open(collaboration, fact)
        case event.TaskRouted():
            _route(task_of(collaboration, fact.task_id), fact)
        case event.TaskHeld():
            _hold(task_of(collaboration, fact.task_id), fact)
        case event.TaskAssigned():
            _assign(task_of(collaboration, fact.task_id), fact)
        case event.TaskSigned():
            sign(task_of(collaboration, fact.task_id), fact)
        case event.TaskReturned():
            _take_back(task_of(collaboration, fact.task_id), fact)
        case event.AnswerReceived():
            _answer(task_of(collaboration, fact.task_id), fact)
        case event.TaskRecalled():
            _recall(task_of(collaboration, fact.task_id), fact)
        case event.CollaborationConcluded():
            _end(collaboration, Collaboration.STATE_CONCLUDED, fact.occurred_at)
        case event.CollaborationRecalled():
            _recall_all(collaboration, fact)
        case event.RecallDeclined():
            collaboration.recall_reason = ""
        case event.TaskOverdue():
            mark_overdue(task_of(collaboration, fact.task_id), fact)
        case event.TaskAnswered() | event.OpinionDeemed() | event.TaskReminded():
            pass  # an answer counts when the center has taken it in
        case event.AnswerLate():
            task_of(collaboration, fact.task_id).answer_late = True
        case _:
            assert_never(fact)


def task_of(collaboration: Collaboration, task_id: str) -> Task:
    """The task; an empty one of no collaboration where there is none."""
    return next((task for task in collaboration.tasks if task.task_id == task_id), Task())


def holds(task: Task, fact: SaidByCollaborator | event.TaskRecalled) -> bool:
    """Whether the fact is about the assignment that the task is in, and the task is still open."""
    return task.assignment == fact.assignment and task.state in (Task.STATE_ASSIGNED, Task.STATE_SIGNED)


def sign(task: Task, fact: event.TaskSigned) -> None:
    """签收: the reply limit runs. A recall may have crossed it, and stand before or behind it: both give the same."""
    if task.assignment != fact.assignment:
        return
    task.signed_at.CopyFrom(fact.occurred_at)
    if fact.HasField("officer"):
        task.signed_by.CopyFrom(fact.officer)
    task.reply_due.CopyFrom(fact.reply_due)
    if task.state == Task.STATE_ASSIGNED:
        task.state = Task.STATE_SIGNED


def deemed(fact: event.OpinionDeemed) -> Answer:
    """What silence says."""
    return Answer(opinion=Answer.OPINION_AGREE, text=fact.basis, answered_at=fact.occurred_at, deemed=True)


def mark_overdue(task: Task, fact: event.TaskOverdue) -> None:
    """超期: it stays the organ's duty."""
    if task.assignment == fact.assignment:
        task.overdue = True


def _open(collaboration: Collaboration, fact: event.CollaborationOpened) -> None:
    collaboration.state = Collaboration.STATE_OPENED
    collaboration.event_no = fact.event_no
    collaboration.center_id = fact.center_id
    collaboration.tier = fact.tier
    collaboration.due.CopyFrom(fact.due)
    collaboration.opened_at.CopyFrom(fact.occurred_at)
    collaboration.tasks.extend(fact.tasks)


def _route(task: Task, fact: event.TaskRouted) -> None:
    task.state = Task.STATE_ROUTING
    _go_on(task)
    task.hops.append(fact.hop)


def _hold(task: Task, fact: event.TaskHeld) -> None:
    task.state = Task.STATE_WAITING_FOR_OFFICER
    _go_on(task)
    task.waiting_at, task.waiting_because = fact.center_id, fact.reason


def _go_on(task: Task) -> None:
    """It waits for nobody, and where it was taken from an organ that was not its end."""
    for name in ("waiting_at", "waiting_because", "ended_at", "recall_reason"):
        task.ClearField(name)


def _assign(task: Task, fact: event.TaskAssigned) -> None:
    task.hops.append(fact.hop)
    assign(task, fact)
    task.assignments.append(Assignment(number=fact.assignment, organ=fact.organ, assigned_at=fact.occurred_at))


def assign(task: Task, fact: event.TaskAssigned) -> None:
    """派遣: it is the organ's now; what an earlier one did with it is past."""
    task.state = Task.STATE_ASSIGNED
    task.organ.CopyFrom(fact.organ)
    task.assignment = fact.assignment
    task.brief.CopyFrom(fact.brief)
    task.assigned_at.CopyFrom(fact.occurred_at)
    for name in ("waiting_at", "waiting_because", "signed_at", "signed_by", "reply_due", "answer", "answer_late",
                 "ended_at", "recall_reason", "overdue", "reminded"):  # fmt: skip
        task.ClearField(name)


def _take_back(task: Task, fact: event.TaskReturned) -> None:
    """退回: it is kept too where the task was taken from the organ at the same time, and then moves nothing."""
    for one in task.assignments:
        if one.number == fact.assignment:
            one.return_reason, one.suggested_organ_id = fact.reason, fact.suggested_organ_id
    task.bounces = sum(bool(one.return_reason) for one in task.assignments)
    if holds(task, fact):
        task.state = Task.STATE_RETURNED


def _answer(task: Task, fact: event.AnswerReceived) -> None:
    if fact.late and not (task.state in AT_NO_ORGAN and task.assignment == fact.assignment):
        return  # the task was given to an organ again since then; the answer stays in the journal
    task.answer.CopyFrom(fact.answer)
    task.answer_late = fact.late
    if not fact.late:
        task.state = Task.STATE_ANSWERED
        task.ended_at.CopyFrom(fact.occurred_at)


def _recall(task: Task, fact: event.TaskRecalled) -> None:
    if task.assignment == fact.assignment:
        task.state = Task.STATE_RECALLED
        task.recall_reason = fact.reason
        task.ended_at.CopyFrom(fact.occurred_at)


def _recall_all(collaboration: Collaboration, fact: event.CollaborationRecalled) -> None:
    """Tasks that no organ had are recalled with it."""
    for task in collaboration.tasks:
        if task.state not in ENDED:
            task.state = Task.STATE_RECALLED
            task.waiting_at = task.waiting_because = ""
            task.recall_reason = fact.reason
            task.ended_at.CopyFrom(fact.occurred_at)
    collaboration.recall_reason = fact.reason
    _end(collaboration, Collaboration.STATE_RECALLED, fact.occurred_at)


def _end(collaboration: Collaboration, state: "Collaboration.State.ValueType", at: Timestamp) -> None:
    collaboration.state = state
    collaboration.ended_at.CopyFrom(at)
