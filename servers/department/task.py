"""A collaborating organ's task (协办任务): signed for, answered, or returned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from bridge.record import Record
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Task
from ronghe.event.v1 import event_pb2 as event
from ronghe.state.v1.state_pb2 import TaskState
from servers.case.rules import caller_of
from servers.catalog.catalog import Catalog
from servers.collaboration.fold import assign, deemed, mark_overdue, sign
from servers.collaboration.ownership import may_coordinate
from servers.department import silence, tasks
from servers.department.views import TASKS, task_values
from servers.kernel.stream import Scope, Stream, StreamKey
from servers.law.calendar import Calendar

ToldToOrgan = (
    event.TaskAssigned
    | event.TaskRecalled
    | event.TaskReminded
    | event.TaskOverdue
    | event.OpinionDeemed
    | event.AnswerLate
)


@dataclass(frozen=True)
class TaskStream(Stream[TaskState]):
    """`task/<organ>/<task id>`, for the organs that this deployment serves."""

    deployment: str
    catalog: Catalog
    calendar: Calendar

    kind = "task"
    state = TaskState
    fold_version = 1
    table = TASKS
    commands: Sequence[type[Message]] = (pb.SignForTaskRequest, pb.AnswerTaskRequest, pb.ReturnTaskRequest)

    def target(self, command: Any, scope: Scope) -> StreamKey:
        """The caller's own task: of another organ's it knows nothing."""
        return StreamKey(self.kind, f"{caller_of(scope).id}/{command.task_id.lower()}")

    def decide(self, state: TaskState, command: Any, scope: Scope) -> Sequence[Message]:
        """Raises Refused."""
        match command:
            case pb.SignForTaskRequest():
                return [tasks.sign_for(state, command, scope.now, self.calendar)]
            case pb.AnswerTaskRequest():
                return [tasks.answer(state, command, scope.now)]
            case pb.ReturnTaskRequest():
                return [tasks.give_back(state, command, scope.now, self.catalog)]
            case _:
                raise TypeError(f"{command.DESCRIPTOR.full_name} is no command of a task")

    def reply(self, command: Any, caused: Sequence[Record]) -> Message:
        """The version after it, and to a signature the last day."""
        record = caused[0]  # a later version may have let more follow
        match record.fact:
            case event.TaskSigned() as fact:
                return pb.SignForTaskResponse(reply_due=fact.reply_due, version=record.version)
            case event.TaskAnswered():
                return pb.AnswerTaskResponse(version=record.version)
            case event.TaskReturned():
                return pb.ReturnTaskResponse(version=record.version)
            case _:
                raise TypeError(f"no command causes {record.type}")

    def concerned(self, record: Record) -> Sequence[StreamKey]:
        """What the center gives to an organ here and takes back, and that the lead had its answer too late."""
        match record.fact:
            case event.TaskAssigned(organ=organ, task_id=task_id) if organ.deployment == self.deployment:
                return [StreamKey(self.kind, f"{organ.id}/{task_id}", record.case_id)]
            case (
                event.TaskRecalled(organ_id=organ_id, task_id=task_id)
                | event.AnswerLate(organ_id=organ_id, task_id=task_id)
            ) if self._serves(organ_id):
                return [StreamKey(self.kind, f"{organ_id}/{task_id}", record.case_id)]
            case _:
                return []

    def _serves(self, organ_id: str) -> bool:
        organ = self.catalog.organs.get(organ_id)
        return organ is not None and organ.deployment == self.deployment

    def may_say(self, state: TaskState, record: Record) -> bool:
        """The center gives tasks and takes them back; the lead that asked says what came too late."""
        if isinstance(record.fact, event.AnswerLate):
            return record.origin == state.task.brief.lead.deployment
        return may_coordinate(record)

    def evolve(self, state: TaskState, record: Record, version: int) -> None:
        """Fold."""
        task = state.task
        match record.fact:
            case event.TaskAssigned() as fact if fact.assignment > task.assignment:
                _open(state, fact)
            case event.TaskSigned() as fact:
                sign(task, fact)
            case event.TaskReminded():
                task.reminded = True
            case event.TaskOverdue() as fact:
                mark_overdue(task, fact)
            case event.OpinionDeemed() as fact:
                _deem(task, fact)
            case event.TaskAnswered() as fact:
                task.state = Task.STATE_ANSWERED
                task.answer.CopyFrom(fact.answer)
                task.ended_at.CopyFrom(fact.occurred_at)
            case event.TaskReturned() as fact:
                task.state = Task.STATE_RETURNED
                task.ended_at.CopyFrom(fact.occurred_at)
            case event.AnswerLate() as fact if fact.assignment == task.assignment:
                task.answer_late = True
            case event.TaskRecalled() as fact if fact.assignment == task.assignment:
                _recall(task, fact)
        task.version = version

    def timers(self, state: TaskState) -> Mapping[str, datetime]:
        """Sign-in, reminder and the end of the limit come by themselves."""
        return silence.timers(state.task, self.calendar)

    def expire(self, state: TaskState, timer: str, scope: Scope) -> Sequence[Message]:
        """Time has passed."""
        now = Timestamp()
        now.FromDatetime(scope.now)
        return [silence.expired(state, timer, now, self.calendar)]

    def columns(self, state: TaskState) -> Mapping[str, Any]:
        """By which tasks are found."""
        return task_values(state.task)

    def receivers(self, state: TaskState, record: Record) -> Sequence[str]:
        """The organ gets what the center says, what time does, and that its answer came too late."""
        by_itself = isinstance(record.fact, event.TaskSigned) and not record.fact.HasField("officer")
        told = by_itself or isinstance(record.fact, ToldToOrgan)
        return [f"organ/{state.task.organ.id}"] if told else []


def _open(state: TaskState, fact: event.TaskAssigned) -> None:
    task = state.task
    task.task_id, task.collaboration_id, state.lead_id = fact.task_id, fact.collaboration_id, fact.lead_id
    assign(task, fact)


def _deem(task: Task, fact: event.OpinionDeemed) -> None:
    task.state = Task.STATE_ANSWERED
    task.answer.CopyFrom(deemed(fact))
    task.ended_at.CopyFrom(fact.occurred_at)


def _recall(task: Task, fact: event.TaskRecalled) -> None:
    """What the organ had answered by then crossed the recall."""
    task.answer_late = task.HasField("answer")
    task.state = Task.STATE_RECALLED
    task.recall_reason = fact.reason
    task.ended_at.CopyFrom(fact.occurred_at)
