"""Cases as a subsystem shows them."""

import grpc

from clients.base import TIMEOUT, ServiceClient
from ronghe.case.v1 import case_service_pb2 as pb
from ronghe.case.v1.case_service_pb2_grpc import CaseServiceStub


class CaseClient(ServiceClient):
    """CaseService."""

    def __init__(self, channel: grpc.aio.Channel, timeout: float = TIMEOUT) -> None:
        super().__init__(channel, timeout)
        self._stub = CaseServiceStub(channel)

    async def get_case(self, request: pb.GetCaseRequest) -> pb.GetCaseResponse:
        """A case by its id or its number."""
        return await self._call(self._stub.GetCase, request)

    async def list_cases(self, request: pb.ListCasesRequest) -> pb.ListCasesResponse:
        """A page of cases, newest first."""
        return await self._call(self._stub.ListCases, request)

    async def get_case_timeline(self, request: pb.GetCaseTimelineRequest) -> pb.GetCaseTimelineResponse:
        """The case's events as this subsystem recorded them."""
        return await self._call(self._stub.GetCaseTimeline, request)

    async def locate_case(self, request: pb.LocateCaseRequest) -> pb.LocateCaseResponse:
        """Where each event of the case is, as far as this subsystem knows."""
        return await self._call(self._stub.LocateCase, request)
