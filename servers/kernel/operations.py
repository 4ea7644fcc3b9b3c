"""OperationsService, the same on every subsystem: how its bridges and its journal are doing."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel import journal, tables
from servers.kernel.kernel import Kernel
from servers.kernel.times import to_timestamp
from servers.rpc.call import Call

VERIFY_ROWS = 100_000
# Rows a read holds its transaction for.
SLICE = 5_000


class OperationsServicer:
    """`bridges` are called for their part of the status."""

    service = pb.DESCRIPTOR.services_by_name["OperationsService"]

    def __init__(
        self,
        kernel: Kernel,
        settings: Sequence[pb.GetSettingsResponse.Setting],
        bridges: Sequence[Callable[[pb.GetBridgeStatusResponse], None]],
        dropped_spans: Callable[[], int],
    ) -> None:
        self._kernel = kernel
        self._settings = settings
        self._bridges = bridges
        self._dropped_spans = dropped_spans

    async def GetBridgeStatus(self, request: pb.GetBridgeStatusRequest, call: Call) -> pb.GetBridgeStatusResponse:  # noqa: N802
        """Positions and lags."""
        writer = self._kernel.writer
        status = pb.GetBridgeStatusResponse(
            origin=self._kernel.subsystem.origin,
            journal_epoch=self._kernel.epoch,
            journal_position=self._kernel.signals.position,
            items_per_commit=writer.units / writer.commits if writer.commits else 0,
            inboxes=await self._kernel.read(_inboxes),
            parked=await self._kernel.read(_parked),
            dropped_spans=self._dropped_spans(),
        )
        for describe in self._bridges:
            describe(status)
        return status

    async def VerifyJournal(self, request: pb.VerifyJournalRequest, call: Call) -> pb.VerifyJournalResponse:  # noqa: N802
        """Walk the chain."""
        limit = request.limit or VERIFY_ROWS
        response = pb.VerifyJournalResponse(position=request.after_position)
        while response.rows < limit:
            size = min(SLICE, limit - response.rows)
            after = response.position
            position, count, fault = await self._kernel.read(lambda c: journal.verify(c, after, size))  # noqa: B023
            response.position, response.rows = position, response.rows + count
            if fault is None and count < size:
                response.finished = True
                fault = await self._kernel.read(journal.verify_head)
            if fault is not None:
                response.fault.position, response.fault.description = fault.position, fault.description
            if fault is not None or response.finished:
                break
        return response

    async def GetSettings(self, request: pb.GetSettingsRequest, call: Call) -> pb.GetSettingsResponse:  # noqa: N802
        """The settings in force."""
        return pb.GetSettingsResponse(settings=self._settings)


def _inboxes(connection: Connection) -> list[pb.InboxStatus]:
    columns = tables.inbox.c
    waiting = (
        select(columns.receiver, func.count().label("count"), func.min(columns.since).label("oldest"))
        .where(columns.acknowledged_at.is_(None))
        .group_by(columns.receiver)
        .subquery()
    )
    statement = (
        select(tables.receiver.c.name, tables.receiver.c.last_sequence, waiting.c.count, waiting.c.oldest)
        .join(waiting, waiting.c.receiver == tables.receiver.c.name)
        .order_by(tables.receiver.c.name)
    )
    return [_inbox(row) for row in connection.execute(statement)]


def _inbox(row: Any) -> pb.InboxStatus:
    return pb.InboxStatus(
        receiver=row.name,
        last_sequence=row.last_sequence,
        unacknowledged=row.count,
        oldest_since=to_timestamp(row.oldest),
    )


def _parked(connection: Connection) -> int:
    statement = select(func.count()).where(tables.dead_letter.c.settled_at.is_(None))
    return connection.scalar(statement) or 0
