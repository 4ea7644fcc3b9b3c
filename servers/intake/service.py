"""IntakeService: applications come in here."""

from collections.abc import AsyncIterator

from clients.redaction import redact
from ronghe.intake.v1 import intake_service_pb2 as pb
from servers.audit.accesses import Accesses
from servers.case.service import page_of_cases, shown_to
from servers.case.views import CaseView
from servers.intake.lookup import QueryCodeLookup
from servers.kernel.kernel import Kernel
from servers.rpc.bulk import answer_each
from servers.rpc.call import Call
from servers.rpc.errors import to_status
from servers.rpc.paging import Pages
from servers.rpc.validation import validate


class IntakeServicer:
    """Each command is one sentence: the kernel decides it."""

    service = pb.DESCRIPTOR.services_by_name["IntakeService"]
    bulk = ("SubmitApplications",)

    def __init__(self, kernel: Kernel, view: CaseView, pages: Pages, lookup: QueryCodeLookup) -> None:
        self._kernel = kernel
        self._view = view
        self._pages = pages
        self._lookup = lookup
        self._accesses = Accesses(kernel)

    async def SubmitApplication(  # noqa: N802 - the contract's names, here and below
        self, request: pb.SubmitApplicationRequest, call: Call
    ) -> pb.SubmitApplicationResponse:
        """Receive an application."""
        return await self._kernel.execute(request, call, pb.SubmitApplicationResponse)

    async def SubmitApplications(  # noqa: N802
        self, requests: AsyncIterator[pb.SubmitApplicationsRequest], call: Call
    ) -> AsyncIterator[pb.SubmitApplicationsResponse]:
        """Receive applications in bulk."""

        async def answer(item: pb.SubmitApplicationsRequest) -> pb.SubmitApplicationsResponse:
            response = pb.SubmitApplicationsResponse(request_id=item.application.request_id)
            try:
                validate(item)
                response.accepted.CopyFrom(await self.SubmitApplication(item.application, call))
            except Exception as error:
                response.failed.CopyFrom(to_status(error, call.method))
            return response

        async for response in answer_each(requests, answer):
            yield response

    async def SupplementApplication(  # noqa: N802
        self, request: pb.SupplementApplicationRequest, call: Call
    ) -> pb.SupplementApplicationResponse:
        """Answer a correction notice."""
        return await self._kernel.execute(request, call, pb.SupplementApplicationResponse)

    async def RequestWithdrawal(  # noqa: N802
        self, request: pb.RequestWithdrawalRequest, call: Call
    ) -> pb.RequestWithdrawalResponse:
        """Ask the lead to end the case."""
        return await self._kernel.execute(request, call, pb.RequestWithdrawalResponse)

    async def GetApplication(self, request: pb.GetApplicationRequest, call: Call) -> pb.GetApplicationResponse:  # noqa: N802
        """One application and how its case stands."""
        case = await self._kernel.read(
            lambda connection: self._view.find(connection, call.caller, call.scope, case_id=request.case_id)
        )
        shown = pb.GetApplicationResponse(case=shown_to(call.caller, case))
        return await self._accesses.recorded(shown, case.case_id, call)

    async def GetApplicationByQueryCode(  # noqa: N802
        self, request: pb.GetApplicationByQueryCodeRequest, call: Call
    ) -> pb.GetApplicationByQueryCodeResponse:
        """One application, by what stands on the voucher."""
        case = await self._lookup.find(request.case_no, request.query_code, call)
        redact(case)
        return pb.GetApplicationByQueryCodeResponse(case=case)

    async def ListApplications(self, request: pb.ListApplicationsRequest, call: Call) -> pb.ListApplicationsResponse:  # noqa: N802
        """Applications, newest first."""
        columns = self._view.table.c
        equal = {"state": int(request.state), "item_code": request.item_code}
        filters = [columns[name] == value for name, value in equal.items() if value]
        page = await page_of_cases(self._kernel, self._view, self._pages, request, filters, call)
        return pb.ListApplicationsResponse(cases=page.rows, next_page_token=page.next_token)
