"""OperationsService, the same on every subsystem: how it is doing, and what operators may put right."""

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import Connection, func, select

from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel import bridges as orders
from servers.kernel import comparing, dead_letters, journal, operator_acts, tables
from servers.kernel.batch import Batch
from servers.kernel.bridges import Bridges
from servers.kernel.comparing import Comparison
from servers.kernel.draining import drain
from servers.kernel.journal import Fault
from servers.kernel.kernel import Kernel
from servers.kernel.operator_acts import Act
from servers.kernel.signing import Authorities
from servers.kernel.times import to_micros, to_timestamp
from servers.rpc.call import Call
from servers.rpc.paging import Pages, as_it_is, page_of

VERIFY_ROWS = 100_000
# Rows a read holds its transaction for.
SLICE = 5_000
HEADS = 500


class OperationsServicer:
    """`describe` adds the bridges' part to the status."""

    service = pb.DESCRIPTOR.services_by_name["OperationsService"]

    def __init__(
        self,
        kernel: Kernel,
        pages: Pages,
        bridges: Bridges,
        authorities: Authorities,
        settings: Sequence[pb.GetSettingsResponse.Setting],
        describe: Callable[[pb.GetBridgeStatusResponse], None],
        dropped_spans: Callable[[], int],
    ) -> None:
        self._kernel = kernel
        self._pages = pages
        self._bridges = bridges
        self._authorities = authorities
        self._settings = settings
        self._describe = describe
        self._dropped_spans = dropped_spans

    async def GetBridgeStatus(self, request: pb.GetBridgeStatusRequest, call: Call) -> pb.GetBridgeStatusResponse:  # noqa: N802
        """Positions and lags."""
        writer = self._kernel.writer
        status = pb.GetBridgeStatusResponse(
            origin=self._kernel.subsystem.origin,
            journal_epoch=self._kernel.epoch,
            journal_position=self._kernel.signals.position,
            items_per_commit=writer.units / writer.commits if writer.commits else 0,
            dropped_spans=self._dropped_spans(),
            now=to_timestamp(to_micros(self._kernel.clock.now())),
            clock=self._kernel.clock.shown(),
            standing_by=self._bridges.standing_by,
        )
        status.MergeFrom(await self._kernel.read(_stored))
        self._describe(status)
        return status

    async def VerifyJournal(self, request: pb.VerifyJournalRequest, call: Call) -> pb.VerifyJournalResponse:  # noqa: N802
        """Walk the chain, and look whether own heads fit it."""
        limit = request.limit or VERIFY_ROWS
        response = pb.VerifyJournalResponse(origin=self._kernel.subsystem.origin, position=request.after_position)
        while response.rows < limit:
            size = min(SLICE, limit - response.rows)
            after = response.position
            walk = await self._kernel.read(lambda c: journal.verify(c, after, size))  # noqa: B023
            response.position, response.rows = walk.position, response.rows + walk.rows
            response.restored.extend(
                pb.VerifyJournalResponse.Restored(position=each.position, epoch=each.epoch, at=to_timestamp(each.at))
                for each in walk.restored
            )
            fault = walk.fault
            if fault is None and walk.rows < size:
                response.finished = True
                fault = await self._kernel.read(journal.verify_head) or await self._compare_own()
            if fault is not None:
                response.fault.CopyFrom(_fault(fault))
            if fault is not None or response.finished:
                break
        return response

    async def _compare_own(self) -> Fault | None:
        """With the heads that stand in it: they may be older than what somebody made of the rows."""
        origin, place, fits_to = self._kernel.subsystem.origin, 0, 0
        while True:
            found = await self._kernel.read(lambda c: comparing.held(c, origin, place, HEADS))  # noqa: B023
            if not found:
                return None
            heads, after = [each.head for each in found], fits_to
            fits_to, fault = await self._kernel.read(lambda c: self._comparison(c).of(heads, after))  # noqa: B023
            if fault is not None:
                return fault
            place = found[-1].position

    def _comparison(self, connection: Connection) -> Comparison:
        return Comparison(connection, self._kernel.subsystem.origin, self._authorities)

    async def ListJournalHeads(self, request: pb.ListJournalHeadsRequest, call: Call) -> pb.ListJournalHeadsResponse:  # noqa: N802
        """In the order in which they were signed."""

        async def rows_after(key: str, limit: int) -> Sequence[comparing.HeldHead]:
            return await self._kernel.read(lambda c: comparing.held(c, request.origin, int(key or 0), limit))

        page = await page_of(self._pages, request, rows_after, lambda each: str(each.position), as_it_is)
        return pb.ListJournalHeadsResponse(heads=page.rows, next_page_token=page.next_token)

    async def CompareJournal(self, request: pb.CompareJournalRequest, call: Call) -> pb.CompareJournalResponse:  # noqa: N802
        """With what others hold."""
        heads, after = request.heads, request.after_position
        fits_to, fault = await self._kernel.read(lambda c: self._comparison(c).of(heads, after))
        return pb.CompareJournalResponse(fits_to=fits_to, fault=_fault(fault) if fault else None)

    async def GetSettings(self, request: pb.GetSettingsRequest, call: Call) -> pb.GetSettingsResponse:  # noqa: N802
        """The settings in force."""
        return pb.GetSettingsResponse(settings=self._settings)

    # --- what was set aside ---

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, call: Call) -> pb.ListDeadLettersResponse:  # noqa: N802
        """In the order in which they came."""

        async def rows_after(key: str, limit: int) -> Sequence[pb.DeadLetter]:
            return await self._kernel.read(
                lambda connection: dead_letters.page(
                    connection, request.case_id, int(key or 0), limit, settled=request.settled
                )
            )

        page = await page_of(self._pages, request, rows_after, lambda letter: str(letter.dead_letter_id), as_it_is)
        return pb.ListDeadLettersResponse(dead_letters=page.rows, next_page_token=page.next_token)

    async def GetDeadLetter(self, request: pb.GetDeadLetterRequest, call: Call) -> pb.GetDeadLetterResponse:  # noqa: N802
        """One of them, without personal data."""
        return await self._kernel.read(lambda connection: dead_letters.shown(connection, request.dead_letter_id))

    async def RedriveDeadLetter(self, request: pb.RedriveDeadLetterRequest, call: Call) -> Message:  # noqa: N802
        """Take in what waits of its case."""
        act = Act(request, call.caller, call.deadline, dead_letters.redrive, dead_letters.not_redriven)
        return await self._operate(act)

    async def DiscardDeadLetter(self, request: pb.DiscardDeadLetterRequest, call: Call) -> Message:  # noqa: N802
        """Give it up."""
        return await self._act(request, call, dead_letters.discard)

    # --- the bridges ---

    async def PauseBridge(self, request: pb.PauseBridgeRequest, call: Call) -> Message:  # noqa: N802
        """Let it stand still."""
        return await self._act(request, call, self._bridges.pause)

    async def ResumeBridge(self, request: pb.ResumeBridgeRequest, call: Call) -> Message:  # noqa: N802
        """Let it go on."""
        return await self._act(request, call, self._bridges.resume)

    async def RepublishSince(self, request: pb.RepublishSinceRequest, call: Call) -> Message:  # noqa: N802
        """Let the relay publish again."""
        return await self._act(request, call, self._bridges.republish)

    # --- the inboxes ---

    async def DrainInbox(self, request: pb.DrainInboxRequest, call: Call) -> Message:  # noqa: N802
        """Acknowledge on a receiver's behalf; a session that has items of it must begin anew."""
        return await self._act(request, call, drain)

    # --- the clock ---

    async def ConfirmClock(self, request: pb.ConfirmClockRequest, call: Call) -> Message:  # noqa: N802
        """Go by the machine's clock again; whoever says so says it by either time."""
        clock = self._kernel.clock
        act = Act(request, call.caller, call.deadline, clock.confirm, latest=lambda batch: clock.latest())
        return await self._set_clock(act)

    async def AdvanceClock(self, request: pb.AdvanceClockRequest, call: Call) -> Message:  # noqa: N802
        """Let time pass in a simulation."""
        return await self._set_clock(Act(request, call.caller, call.deadline, self._kernel.clock.advance))

    async def _set_clock(self, act: Act) -> Message:
        response = await self._operate(act)
        await self._kernel.read(self._kernel.clock.learn)
        return response

    async def ListOperatorActs(self, request: pb.ListOperatorActsRequest, call: Call) -> pb.ListOperatorActsResponse:  # noqa: N802
        """Newest first."""

        async def rows_after(key: str, limit: int) -> Sequence[pb.OperatorAct]:
            before = int(key) if key else None
            return await self._kernel.read(lambda connection: operator_acts.page(connection, before, limit))

        page = await page_of(self._pages, request, rows_after, lambda act: str(act.act_id), as_it_is)
        return pb.ListOperatorActsResponse(acts=page.rows, next_page_token=page.next_token)

    async def _act(self, request: Message, call: Call, do: Callable[[Batch, Any], Message]) -> Message:
        return await self._operate(Act(request, call.caller, call.deadline, do))

    async def _operate(self, act: Act) -> Message:
        response = await self._kernel.operate(act)
        self._bridges.look()
        return response


def _fault(fault: Fault) -> pb.VerifyJournalResponse.Fault:
    return pb.VerifyJournalResponse.Fault(
        position=fault.position, description=fault.description, to_position=fault.to_position
    )


def _stored(connection: Connection) -> pb.GetBridgeStatusResponse:
    """What the database says of the status."""
    status = pb.GetBridgeStatusResponse(inboxes=_inboxes(connection), paused=orders.paused(connection))
    dead_letters.count(connection, status)
    return status


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
