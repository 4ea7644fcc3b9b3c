"""Inboxes of receivers that do not come any more: an operator acknowledges on their behalf."""

from sqlalchemy import ColumnElement, Connection, func, select, update

from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel import tables
from servers.kernel.batch import Batch
from servers.kernel.times import to_micros

# The session of such an inbox: nobody's, until the receiver opens one.
DRAINED = "drained"


def drain(batch: Batch, request: pb.DrainInboxRequest) -> pb.DrainInboxResponse:
    """Acknowledge what waits, and let no session that was given some of it say more."""
    columns = tables.inbox.c
    waiting = (columns.receiver == request.receiver, columns.acknowledged_at.is_(None))
    items, first = _count(batch.connection, *waiting)
    if items:
        batch.connection.execute(update(tables.inbox).where(*waiting).values(acknowledged_at=to_micros(batch.now)))
        batch.open_session(request.receiver, DRAINED, epoch=0)
    return pb.DrainInboxResponse(items=items, first_sequence=first)


def _count(connection: Connection, *waiting: ColumnElement[bool]) -> tuple[int, int]:
    """How many there are, and the sequence of the first; 0 where there is none."""
    first = func.coalesce(func.min(tables.inbox.c.sequence), 0)
    count, sequence = connection.execute(select(func.count(), first).where(*waiting)).one()
    return count, sequence
