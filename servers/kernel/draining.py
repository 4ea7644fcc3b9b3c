"""Inboxes of receivers that do not come any more: an operator acknowledges on their behalf."""

from sqlalchemy import select, update

from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel import tables
from servers.kernel.batch import Batch
from servers.kernel.inbox import among_waiting
from servers.kernel.times import to_micros

# The session of such an inbox: nobody's, until the receiver opens one.
DRAINED = "drained"
# Everybody who writes waits meanwhile, and PostgreSQL ends a statement that takes for long: a year's items would never
# be drained at once.
MOST_ITEMS = 10_000


def drain(batch: Batch, request: pb.DrainInboxRequest) -> pb.DrainInboxResponse:
    """Acknowledge what waits, as much as one act may, and let no session that was given some of it say more."""
    columns = tables.inbox.c
    waiting = (columns.receiver == request.receiver, columns.acknowledged_at.is_(None))
    first = among_waiting(select(columns.sequence)).where(*waiting).order_by(columns.sequence).limit(MOST_ITEMS + 1)
    found = batch.connection.scalars(first).all()
    if not found:
        return pb.DrainInboxResponse()
    sequences = found[:MOST_ITEMS]
    taken = update(tables.inbox).where(*waiting, columns.sequence.between(sequences[0], sequences[-1]))
    batch.connection.execute(taken.values(acknowledged_at=to_micros(batch.now)))
    batch.open_session(request.receiver, DRAINED, epoch=0)
    more = len(found) > len(sequences)
    return pb.DrainInboxResponse(items=len(sequences), first_sequence=sequences[0], more=more)
