"""The lead's view of what it asked: a projection of the center's facts, for reading only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.record import Record
from ronghe.event.v1 import event_pb2 as event
from ronghe.state.v1.state_pb2 import CollaborationState
from servers.catalog.catalog import Catalog
from servers.collaboration.facts import AskedByLead, SaidByCenter
from servers.collaboration.fold import fold
from servers.collaboration.ownership import may_ask, may_collaborate, may_coordinate
from servers.collaboration.views import COLLABORATIONS, KIND, collaboration_values
from servers.kernel.stream import Stream, StreamKey

Seen = (
    SaidByCenter
    | event.CollaborationRecallRequested
    | event.AnswerLate
    | event.TaskSigned
    | event.TaskOverdue
    | event.TaskReturned
)


@dataclass(frozen=True)
class AskedCollaborationStream(Stream[CollaborationState]):
    """`collaboration/<collaboration id>`, for the leads that this deployment serves."""

    deployment: str
    catalog: Catalog

    kind = KIND
    state = CollaborationState
    fold_version = 1
    table = COLLABORATIONS

    def concerned(self, record: Record) -> Sequence[StreamKey]:
        """What a lead here asked, and what became of it."""
        match record.fact:
            case event.CollaborationRequested(collaboration=asked) if asked.lead.deployment == self.deployment:
                return [StreamKey(self.kind, asked.collaboration_id, record.case_id)]
            case fact if isinstance(fact, Seen) and self._serves(fact.lead_id):
                return [StreamKey(self.kind, fact.collaboration_id, record.case_id)]
            case _:
                return []

    def _serves(self, organ_id: str) -> bool:
        organ = self.catalog.organs.get(organ_id)
        return organ is not None and organ.deployment == self.deployment

    def may_say(self, state: CollaborationState, record: Record) -> bool:
        """The center, and of its own task a collaborator."""
        known = state.collaboration
        if isinstance(record.fact, AskedByLead):
            return may_ask(known, record)
        return bool(known.collaboration_id) and (may_coordinate(record) or may_collaborate(known, record))

    def evolve(self, state: CollaborationState, record: Record, version: int) -> None:
        """Fold."""
        fold(state.collaboration, record, version)

    def columns(self, state: CollaborationState) -> Mapping[str, Any]:
        """By which collaborations are found."""
        return collaboration_values(state.collaboration)

    def receivers(self, state: CollaborationState, record: Record) -> Sequence[str]:
        """The lead is told by its case."""
        return ()
