"""Intake, as a terminal or an intake system sees it."""

from collections.abc import AsyncIterator
from pathlib import Path

from clients.base import TIMEOUT, trace_metadata
from clients.bulk import WINDOW, Answer, Pipeline, Source
from clients.identity import Identity
from clients.subsystem import SubsystemClient
from ronghe.intake.v1 import intake_service_pb2 as pb
from ronghe.intake.v1.intake_service_pb2_grpc import IntakeServiceStub

Submission = Answer[pb.SubmitApplicationRequest, pb.SubmitApplicationResponse]


class IntakeClient(SubsystemClient):
    """Hands applications in, and follows them."""

    def __init__(self, target: str, pki: Path, identity: Identity, *, timeout: float = TIMEOUT) -> None:
        super().__init__(target, pki, identity, timeout=timeout)
        self._stub = IntakeServiceStub(self._channel)

    async def submit_application(self, request: pb.SubmitApplicationRequest) -> pb.SubmitApplicationResponse:
        """Hand an application in; the response is the voucher."""
        return await self._call(self._stub.SubmitApplication, request)

    def submit_many(
        self, requests: Source[pb.SubmitApplicationRequest], window: int = WINDOW
    ) -> AsyncIterator[Submission]:
        """Hand many applications in, the fastest way; answers come in any order."""
        pipeline = Pipeline[pb.SubmitApplicationRequest, pb.SubmitApplicationResponse](
            lambda: self._stub.SubmitApplications(metadata=trace_metadata()),
            lambda applications: pb.SubmitApplicationsRequest(applications=applications),
            window,
        )
        return pipeline.run(requests)

    async def supplement_application(
        self, request: pb.SupplementApplicationRequest
    ) -> pb.SupplementApplicationResponse:
        """Answer the open correction notice."""
        return await self._call(self._stub.SupplementApplication, request)

    async def request_withdrawal(self, request: pb.RequestWithdrawalRequest) -> pb.RequestWithdrawalResponse:
        """Ask the lead to end the case."""
        return await self._call(self._stub.RequestWithdrawal, request)

    async def get_application(self, request: pb.GetApplicationRequest) -> pb.GetApplicationResponse:
        """An application, and how its case stands."""
        return await self._call(self._stub.GetApplication, request)

    async def get_application_by_query_code(
        self, request: pb.GetApplicationByQueryCodeRequest
    ) -> pb.GetApplicationByQueryCodeResponse:
        """Look a case up with what stands on the voucher."""
        return await self._call(self._stub.GetApplicationByQueryCode, request)

    async def list_applications(self, request: pb.ListApplicationsRequest) -> pb.ListApplicationsResponse:
        """A page of applications, newest first."""
        return await self._call(self._stub.ListApplications, request)
