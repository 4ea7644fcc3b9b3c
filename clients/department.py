"""The department approval system, as an organ sees it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from google.protobuf.message import Message

from clients.base import TIMEOUT, trace_metadata
from clients.bulk import WINDOW, Answer, Pipeline, Source
from clients.identity import Identity
from clients.subsystem import SubsystemClient
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.department.v1 import department_service_pb2 as pb
from ronghe.department.v1.department_service_pb2_grpc import DepartmentServiceStub

Command = (
    pb.AcceptApplicationRequest
    | pb.RefuseAcceptanceRequest
    | pb.RequestCorrectionRequest
    | pb.RecordStepRequest
    | pb.DecideApplicationRequest
    | pb.CloseCaseRequest
    | collaboration.RequestCollaborationRequest
    | collaboration.RecallCollaborationRequest
    | collaboration.SignForTaskRequest
    | collaboration.AnswerTaskRequest
    | collaboration.ReturnTaskRequest
)
CommandResponse = (
    pb.AcceptApplicationResponse
    | pb.RefuseAcceptanceResponse
    | pb.RequestCorrectionResponse
    | pb.RecordStepResponse
    | pb.DecideApplicationResponse
    | pb.CloseCaseResponse
    | collaboration.RequestCollaborationResponse
    | collaboration.RecallCollaborationResponse
    | collaboration.SignForTaskResponse
    | collaboration.AnswerTaskResponse
    | collaboration.ReturnTaskResponse
)


class DepartmentClient(SubsystemClient):
    """Accepts, corrects, decides and closes the cases the organ leads; `collaborations` asks others, and answers."""

    def __init__(self, target: str, pki: Path, identity: Identity, *, timeout: float = TIMEOUT) -> None:
        super().__init__(target, pki, identity, timeout=timeout)
        self._stub = DepartmentServiceStub(self._channel)

    async def accept_application(self, request: pb.AcceptApplicationRequest) -> pb.AcceptApplicationResponse:
        """Accept; the response is the acceptance receipt."""
        return await self._call(self._stub.AcceptApplication, request)

    async def refuse_acceptance(self, request: pb.RefuseAcceptanceRequest) -> pb.RefuseAcceptanceResponse:
        """Refuse to accept; the response is the refusal."""
        return await self._call(self._stub.RefuseAcceptance, request)

    async def request_correction(self, request: pb.RequestCorrectionRequest) -> pb.RequestCorrectionResponse:
        """Ask the applicant to correct; the response is the notice."""
        return await self._call(self._stub.RequestCorrection, request)

    async def record_step(self, request: pb.RecordStepRequest) -> pb.RecordStepResponse:
        """Record a step of the approval process."""
        return await self._call(self._stub.RecordStep, request)

    async def decide_application(self, request: pb.DecideApplicationRequest) -> pb.DecideApplicationResponse:
        """Decide; the response is the decision."""
        return await self._call(self._stub.DecideApplication, request)

    async def close_case(self, request: pb.CloseCaseRequest) -> pb.CloseCaseResponse:
        """Close a decided case."""
        return await self._call(self._stub.CloseCase, request)

    def execute_many(
        self, commands: Source[Command], window: int = WINDOW
    ) -> AsyncIterator[Answer[Command, CommandResponse]]:
        """Execute many commands, the fastest way; those of one case in their order, answers in any order."""
        pipeline = Pipeline[Any, Any](lambda: self._stub.ExecuteCommands(metadata=trace_metadata()), _together, window)
        return cast("AsyncIterator[Answer[Command, CommandResponse]]", pipeline.run(commands))


def _together(commands: Sequence[Message]) -> pb.ExecuteCommandsRequest:
    return pb.ExecuteCommandsRequest(commands=[_wrapped(command) for command in commands])


def _wrapped(command: Message) -> pb.ExecuteCommandsRequest.Command:
    """The command in its place: each type has one field."""
    field = _fields().get(command.DESCRIPTOR.full_name)
    if field is None:
        raise TypeError(f"{command.DESCRIPTOR.full_name} is no command of the department")
    wrapped = pb.ExecuteCommandsRequest.Command()
    getattr(wrapped, field).CopyFrom(command)
    return wrapped


@cache
def _fields() -> Mapping[str, str]:
    """By the type of the command."""
    fields = pb.ExecuteCommandsRequest.Command.DESCRIPTOR.fields
    return {field.message_type.full_name: field.name for field in fields if field.message_type is not None}
