"""DepartmentService: organs act here."""

from collections.abc import AsyncIterator, Sequence
from functools import partial

from google.protobuf.message import Message

from ronghe.department.v1 import department_service_pb2 as pb
from servers.kernel.kernel import Kernel
from servers.rpc.bulk import answer_each, execute_each
from servers.rpc.call import Call
from servers.rpc.errors import to_status


class DepartmentServicer:
    """Each command is one sentence: the kernel decides it."""

    service = pb.DESCRIPTOR.services_by_name["DepartmentService"]
    bulk = ("ExecuteCommands",)

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def AcceptApplication(  # noqa: N802 - the contract's names, here and below
        self, request: pb.AcceptApplicationRequest, call: Call
    ) -> pb.AcceptApplicationResponse:
        """Accept, with a receipt."""
        return await self._kernel.execute(request, call, pb.AcceptApplicationResponse)

    async def RefuseAcceptance(  # noqa: N802
        self, request: pb.RefuseAcceptanceRequest, call: Call
    ) -> pb.RefuseAcceptanceResponse:
        """Refuse to accept."""
        return await self._kernel.execute(request, call, pb.RefuseAcceptanceResponse)

    async def RequestCorrection(  # noqa: N802
        self, request: pb.RequestCorrectionRequest, call: Call
    ) -> pb.RequestCorrectionResponse:
        """Ask the applicant to correct."""
        return await self._kernel.execute(request, call, pb.RequestCorrectionResponse)

    async def RecordStep(self, request: pb.RecordStepRequest, call: Call) -> pb.RecordStepResponse:  # noqa: N802
        """Record a step of the process."""
        return await self._kernel.execute(request, call, pb.RecordStepResponse)

    async def DecideApplication(  # noqa: N802
        self, request: pb.DecideApplicationRequest, call: Call
    ) -> pb.DecideApplicationResponse:
        """Grant or deny."""
        return await self._kernel.execute(request, call, pb.DecideApplicationResponse)

    async def CloseCase(self, request: pb.CloseCaseRequest, call: Call) -> pb.CloseCaseResponse:  # noqa: N802
        """Close a decided case."""
        return await self._kernel.execute(request, call, pb.CloseCaseResponse)

    async def ExecuteCommands(  # noqa: N802
        self, requests: AsyncIterator[pb.ExecuteCommandsRequest], call: Call
    ) -> AsyncIterator[pb.ExecuteCommandsResponse]:
        """Take commands in bulk."""

        async def answer(request: pb.ExecuteCommandsRequest) -> Sequence[pb.ExecuteCommandsResponse.Result]:
            execute = partial(self._kernel.execute_all, call=call)
            outcomes = await execute_each(request, request.commands, _command_of, execute)
            return [
                _result(command, outcome, call.method)
                for command, outcome in zip(request.commands, outcomes, strict=True)
            ]

        async for results in answer_each(requests, lambda request: request.commands, answer):
            yield pb.ExecuteCommandsResponse(results=results)


def _command_of(command: pb.ExecuteCommandsRequest.Command) -> Message:
    name = command.WhichOneof("command")
    return command if name is None else getattr(command, name)


def _result(
    command: pb.ExecuteCommandsRequest.Command, outcome: Message | Exception, method: str
) -> pb.ExecuteCommandsResponse.Result:
    result = pb.ExecuteCommandsResponse.Result(request_id=getattr(_command_of(command), "request_id", ""))
    name = "failed" if isinstance(outcome, Exception) else command.WhichOneof("command") or ""
    message = to_status(outcome, method) if isinstance(outcome, Exception) else outcome
    getattr(result, name).CopyFrom(message)
    return result
