"""IntakeService: applications come in here."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import cast

from google.protobuf.message import Message

from clients.redaction import redact
from ronghe.intake.v1 import intake_service_pb2 as pb
from servers.audit.accesses import Accesses
from servers.case.service import page_of_cases, shown_to
from servers.case.views import CaseView
from servers.intake.lookup import QueryCodeLookup
from servers.kernel.kernel import Kernel
from servers.rpc.bulk import answer_each, execute_each
from servers.rpc.call import Call
from servers.rpc.errors import to_status
from servers.rpc.paging import Pages


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

        async def answer(request: pb.SubmitApplicationsRequest) -> Sequence[pb.SubmitApplicationsResponse.Result]:
            execute = partial(self._kernel.execute_all, call=call)
            outcomes = await execute_each(request, request.applications, lambda application: application, execute)
            return [
                _result(application.request_id, outcome, call.method)
                for application, outcome in zip(request.applications, outcomes, strict=True)
            ]

        async for results in answer_each(requests, lambda request: request.applications, answer):
            yield pb.SubmitApplicationsResponse(results=results)

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


def _result(request_id: str, outcome: Message | Exception, method: str) -> pb.SubmitApplicationsResponse.Result:
    if isinstance(outcome, Exception):
        return pb.SubmitApplicationsResponse.Result(request_id=request_id, failed=to_status(outcome, method))
    accepted = cast("pb.SubmitApplicationResponse", outcome)
    return pb.SubmitApplicationsResponse.Result(request_id=request_id, accepted=accepted)
