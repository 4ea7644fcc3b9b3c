"""How a subsystem is doing."""

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

    async def get_settings(self, request: pb.GetSettingsRequest) -> pb.GetSettingsResponse:
        """The settings in force."""
        return await self._call(self._stub.GetSettings, request)
