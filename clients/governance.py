"""The governance centers, as their officers and those who watch them see them."""

from pathlib import Path

from clients.base import TIMEOUT
from clients.identity import Identity
from clients.subsystem import SubsystemClient
from ronghe.governance.v1 import governance_service_pb2 as pb
from ronghe.governance.v1.governance_service_pb2_grpc import GovernanceServiceStub


class GovernanceClient(SubsystemClient):
    """Routes tasks by hand, and shows their way and their numbers; `collaborations` has the rest."""

    def __init__(self, target: str, pki: Path, identity: Identity, *, timeout: float = TIMEOUT) -> None:
        super().__init__(target, pki, identity, timeout=timeout)
        self._stub = GovernanceServiceStub(self._channel)

    async def route_collaboration(self, request: pb.RouteCollaborationRequest) -> pb.RouteCollaborationResponse:
        """Route a task to an organ or to another center."""
        return await self._call(self._stub.RouteCollaboration, request)

    async def list_hops(self, request: pb.ListHopsRequest) -> pb.ListHopsResponse:
        """A page of the hops of a collaboration's tasks."""
        return await self._call(self._stub.ListHops, request)

    async def get_summary(self, request: pb.GetSummaryRequest) -> pb.GetSummaryResponse:
        """How many collaborations and tasks there are, by state, tier and organ."""
        return await self._call(self._stub.GetSummary, request)
