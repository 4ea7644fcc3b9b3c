"""Queries over collaborations: at the center, and at the lead that asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    Text,
    exists,
    select,
    tuple_,
)

from clients.identity import Identity
from ronghe.access.v1.access_pb2 import Scope
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.state.v1.state_pb2 import CollaborationState
from servers.kernel import tables
from servers.kernel.stream import Refused
from servers.kernel.tables import stream_table

KIND = "collaboration"

COLLABORATIONS = stream_table(
    KIND,
    Column("event_no", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Column("lead_id", Text, nullable=False),
    Column("waiting_at", Text, nullable=False, comment="centers whose officers must route a task, between commas"),
    Column("requested_at", BigInteger, nullable=False, comment="microseconds since 1970 UTC"),
)
Index("stream_collaboration_event_no", COLLABORATIONS.c.event_no)
# Lists are read newest first: of everyone, of one lead, and of those that wait for an officer.
Index("stream_collaboration_newest", COLLABORATIONS.c.requested_at, COLLABORATIONS.c.id)
Index("stream_collaboration_of_lead", COLLABORATIONS.c.lead_id, COLLABORATIONS.c.requested_at, COLLABORATIONS.c.id)
Index(
    "stream_collaboration_waiting",
    COLLABORATIONS.c.requested_at,
    sqlite_where=COLLABORATIONS.c.waiting_at != "",
    postgresql_where=COLLABORATIONS.c.waiting_at != "",
)


def collaboration_values(collaboration: Collaboration) -> Mapping[str, Any]:
    """The columns' values."""
    centers = sorted({task.waiting_at for task in collaboration.tasks if task.waiting_at})
    return {
        "event_no": collaboration.event_no,
        "state": int(collaboration.state),
        "lead_id": collaboration.lead.id,
        "waiting_at": f",{','.join(centers)}," if centers else "",
        "requested_at": collaboration.requested_at.ToMicroseconds(),
    }


@dataclass(frozen=True, slots=True)
class CollaborationView:
    """The collaborations of one subsystem, as a caller may see them."""

    def find(
        self,
        connection: Connection,
        caller: Identity,
        scope: "Scope.ValueType",
        *,
        collaboration_id: str = "",
        event_no: str = "",
    ) -> Collaboration:
        """One by its id or number. Raises Refused: COLLABORATION_NOT_FOUND, also for someone else's."""
        columns = COLLABORATIONS.c
        name = columns.id == collaboration_id.lower() if collaboration_id else columns.event_no == event_no
        row = connection.execute(select(columns.snapshot).where(name, *self.own(caller, scope))).first()
        if row is None:
            raise not_found()
        return _collaboration(row.snapshot)

    def page(
        self, connection: Connection, filters: Sequence[ColumnElement[bool]], after: tuple[int, str] | None, size: int
    ) -> Sequence[Collaboration]:
        """A page, newest first, from behind (requested_at, id)."""
        columns = COLLABORATIONS.c
        statement = select(columns.snapshot).where(*filters)
        if after is not None:
            statement = statement.where(tuple_(columns.requested_at, columns.id) < after)
        statement = statement.order_by(columns.requested_at.desc(), columns.id.desc()).limit(size)
        return [_collaboration(row.snapshot) for row in connection.execute(statement)]

    def own(self, caller: Identity, scope: "Scope.ValueType") -> Sequence[ColumnElement[bool]]:
        """What bounds the caller: an organ sees what it asked for, a center what went through it."""
        if scope == Scope.SCOPE_ALL:
            return ()
        if caller.kind == "organ":
            return (COLLABORATIONS.c.lead_id == caller.id,)
        party = tables.party.c
        return (exists().where(party.kind == KIND, party.party == str(caller), party.id == COLLABORATIONS.c.id),)


def _collaboration(snapshot: bytes) -> Collaboration:
    return CollaborationState.FromString(snapshot).collaboration


def not_found() -> Refused:
    """No such collaboration, or someone else's: both answer alike."""
    return Refused(
        Reason.REASON_COLLABORATION_NOT_FOUND,
        "there is no such collaboration among those you may see: check its id, or see ListCollaborations",
    )
