"""How a subsystem is doing, and what an operator puts right there."""

import grpc

from clients.base import TIMEOUT, ServiceClient
from ronghe.operations.v1 import operations_service_pb2 as pb
from ronghe.operations.v1.operations_service_pb2_grpc import OperationsServiceStub


class OperationsClient(ServiceClient):
    """OperationsService."""

    def __init__(self, channel: grpc.aio.Channel, timeout: float = TIMEOUT) -> None:
        super().__init__(channel, timeout)
        self._stub = OperationsServiceStub(channel)

    async def get_bridge_status(self, request: pb.GetBridgeStatusRequest) -> pb.GetBridgeStatusResponse:
        """Positions, lags and last errors of everything that carries events here."""
        return await self._call(self._stub.GetBridgeStatus, request)

    async def verify_journal(
        self, request: pb.VerifyJournalRequest, seconds: float = 300.0
    ) -> pb.VerifyJournalResponse:
        """Walk the hash chain, for at most so many seconds."""
        return await self._call(self._stub.VerifyJournal, request, seconds)

    async def list_journal_heads(self, request: pb.ListJournalHeadsRequest) -> pb.ListJournalHeadsResponse:
        """A page of the signed heads of a journal that are held here."""
        return await self._call(self._stub.ListJournalHeads, request)

    async def compare_journal(self, request: pb.CompareJournalRequest) -> pb.CompareJournalResponse:
        """Compare the journal here with signed heads of it."""
        return await self._call(self._stub.CompareJournal, request)

    async def get_settings(self, request: pb.GetSettingsRequest) -> pb.GetSettingsResponse:
        """The settings in force."""
        return await self._call(self._stub.GetSettings, request)

    async def list_dead_letters(self, request: pb.ListDeadLettersRequest) -> pb.ListDeadLettersResponse:
        """A page of what was set aside."""
        return await self._call(self._stub.ListDeadLetters, request)

    async def get_dead_letter(self, request: pb.GetDeadLetterRequest) -> pb.GetDeadLetterResponse:
        """One of them, without personal data."""
        return await self._call(self._stub.GetDeadLetter, request)

    async def redrive_dead_letter(
        self, request: pb.RedriveDeadLetterRequest, seconds: float = 60.0
    ) -> pb.RedriveDeadLetterResponse:
        """Take in everything of its case that waits."""
        return await self._call(self._stub.RedriveDeadLetter, request, seconds)

    async def discard_dead_letter(self, request: pb.DiscardDeadLetterRequest) -> pb.DiscardDeadLetterResponse:
        """Give it up for good."""
        return await self._call(self._stub.DiscardDeadLetter, request)

    async def pause_bridge(self, request: pb.PauseBridgeRequest) -> pb.PauseBridgeResponse:
        """Let a bridge stand still until it is resumed."""
        return await self._call(self._stub.PauseBridge, request)

    async def resume_bridge(self, request: pb.ResumeBridgeRequest) -> pb.ResumeBridgeResponse:
        """Let a paused bridge go on."""
        return await self._call(self._stub.ResumeBridge, request)

    async def republish_since(self, request: pb.RepublishSinceRequest) -> pb.RepublishSinceResponse:
        """Let the relay publish again from a position or a time on."""
        return await self._call(self._stub.RepublishSince, request)

    async def drain_inbox(self, request: pb.DrainInboxRequest) -> pb.DrainInboxResponse:
        """Acknowledge on a receiver's behalf what waits for it; the answer says whether there is more."""
        return await self._call(self._stub.DrainInbox, request)

    async def confirm_clock(self, request: pb.ConfirmClockRequest) -> pb.ConfirmClockResponse:
        """Let the subsystem go by its machine's clock again."""
        return await self._call(self._stub.ConfirmClock, request)

    async def advance_clock(self, request: pb.AdvanceClockRequest) -> pb.AdvanceClockResponse:
        """Let time pass in a simulation."""
        return await self._call(self._stub.AdvanceClock, request)

    async def list_operator_acts(self, request: pb.ListOperatorActsRequest) -> pb.ListOperatorActsResponse:
        """A page of what operators did, newest first."""
        return await self._call(self._stub.ListOperatorActs, request)
