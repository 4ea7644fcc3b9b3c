"""The center's collaborations: opened, routed through the tiers, concluded or recalled."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from bridge.record import Record
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration
from ronghe.event.v1 import event_pb2 as event
from ronghe.governance.v1 import governance_service_pb2 as pb
from ronghe.state.v1.state_pb2 import CollaborationState
from servers.case.rules import caller_of
from servers.catalog.catalog import Catalog
from servers.collaboration.facts import SaidByCollaborator
from servers.collaboration.fold import fold, holds, task_of
from servers.collaboration.ownership import may_ask, may_collaborate
from servers.collaboration.views import COLLABORATIONS, KIND, collaboration_values, not_found
from servers.governance import by_hand, coordination, summary
from servers.governance.opening import open_event
from servers.kernel.stream import Facts, Scope, Stream, StreamKey
from servers.law.calendar import Calendar


@dataclass(frozen=True)
class CollaborationStream(Stream[CollaborationState]):
    """`collaboration/<collaboration id>`."""

    catalog: Catalog
    calendar: Calendar

    kind = KIND
    state = CollaborationState
    fold_version = 1
    table = COLLABORATIONS
    commands: Sequence[type[Message]] = (pb.RouteCollaborationRequest,)

    def target(self, command: Any, scope: Scope) -> StreamKey:
        """The collaboration that the officer names."""
        return StreamKey(self.kind, command.collaboration_id.lower())

    def decide(self, state: CollaborationState, command: Any, scope: Scope) -> Sequence[Message]:
        """Raises Refused."""
        if not state.collaboration.collaboration_id:
            raise not_found()
        return by_hand.route(state.collaboration, command, caller_of(scope), scope.now, self.catalog)

    def reply(self, command: Any, caused: Sequence[Record]) -> Message:
        """The hops that were made."""
        facts = (record.fact for record in caused)
        hops = [fact.hop for fact in facts if isinstance(fact, event.TaskRouted | event.TaskAssigned)]
        return pb.RouteCollaborationResponse(hops=hops, version=caused[-1].version)

    def concerned(self, record: Record) -> Sequence[StreamKey]:
        """What the lead asks, and what collaborators do."""
        match record.fact:
            case event.CollaborationRequested(collaboration=asked):
                return [StreamKey(self.kind, asked.collaboration_id, record.case_id)]
            case event.CollaborationRecallRequested() | event.AnswerLate() as fact:
                return [StreamKey(self.kind, fact.collaboration_id, record.case_id)]
            case fact if isinstance(fact, SaidByCollaborator):
                return [StreamKey(self.kind, fact.collaboration_id, record.case_id)]
            case _:
                return []

    def may_say(self, state: CollaborationState, record: Record) -> bool:
        """The lead that asked, and each collaborator of its own task."""
        return may_ask(state.collaboration, record) or may_collaborate(state.collaboration, record)

    def react(self, state: CollaborationState, record: Record, scope: Scope) -> Facts:
        """The centers do their part."""
        known, now = state.collaboration, Timestamp()
        now.FromDatetime(scope.now)
        match record.fact:
            case event.CollaborationRequested():
                return open_event(known, scope, self.catalog, self.calendar, now)
            case event.CollaborationRecallRequested() as fact:
                return coordination.on_recall(known, fact, now)
            case event.TaskAnswered() | event.OpinionDeemed() as fact:
                return coordination.on_answer(known, fact, state.answers, now)
            case event.TaskReturned() as fact if _came_back(known, fact):
                task = task_of(known, fact.task_id)
                return coordination.Return(known, task, self.catalog, scope.now, now).routed()
            case _:
                return []

    def evolve(self, state: CollaborationState, record: Record, version: int) -> None:
        """Fold, and remember the answers: they are what a conclusion comes from."""
        fold(state.collaboration, record, version)
        if isinstance(record.fact, event.AnswerReceived) and not record.fact.late:
            state.answers.append(record.event_id)

    def columns(self, state: CollaborationState) -> Mapping[str, Any]:
        """By which collaborations are found."""
        return collaboration_values(state.collaboration)

    def figures(self, state: CollaborationState) -> Mapping[str, int]:
        """What the summaries count."""
        return summary.figures(state.collaboration, self.catalog)

    def parties(self, state: CollaborationState) -> AbstractSet[str]:
        """The centers on its way."""
        ends = {hop.to for task in state.collaboration.tasks for hop in task.hops}
        return {end for end in ends if end.startswith("center/")}

    def receivers(self, state: CollaborationState, record: Record) -> Sequence[str]:
        """A center hears of what waits for its officer, and of an organ of its own that is overdue (督办)."""
        match record.fact:
            case event.TaskHeld(center_id=center_id):
                return [f"center/{center_id}"]
            case event.TaskOverdue() as fact if holds(task_of(state.collaboration, fact.task_id), fact):
                return [f"center/{task_of(state.collaboration, fact.task_id).organ.division}"]
            case _:
                return []


def _came_back(known: Collaboration, fact: event.TaskReturned) -> bool:
    """Whether the return, just taken in, is that of the task's present assignment."""
    task = task_of(known, fact.task_id)
    return task.state == task.STATE_RETURNED and task.assignment == fact.assignment
