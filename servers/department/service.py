"""DepartmentService: organs act here."""

from collections.abc import AsyncIterator

from google.protobuf.message import Message

from ronghe.department.v1 import department_service_pb2 as pb
from servers.kernel.kernel import Kernel
from servers.rpc.bulk import answer_each
from servers.rpc.call import Call
from servers.rpc.errors import to_status
from servers.rpc.validation import validate


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

        async def answer(item: pb.ExecuteCommandsRequest) -> pb.ExecuteCommandsResponse:
            response = pb.ExecuteCommandsResponse()
            try:
                name = item.WhichOneof("command") or ""
                command = getattr(item, name, item)
                response.request_id = getattr(command, "request_id", "")
                validate(item)
                getattr(response, name).CopyFrom(await self._kernel.execute(command, call, Message))
            except Exception as error:
                response.failed.CopyFrom(to_status(error, call.method))
            return response

        async for response in answer_each(requests, answer):
            yield response
