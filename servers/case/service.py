"""CaseService, the same on every subsystem."""

from collections.abc import Collection, Sequence
from itertools import islice

from google.protobuf.message import Message
from sqlalchemy import ColumnElement, Connection

from clients.identity import Identity
from clients.redaction import redact
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as pb
from servers.audit.accesses import Accesses
from servers.case import timeline
from servers.case.facts import OF_COLLABORATION
from servers.case.views import CaseView
from servers.kernel.kernel import Kernel
from servers.rpc.call import Call
from servers.rpc.fitting import bytes_of, fitting
from servers.rpc.paging import Page, Pages, page_of

SEES_PERSONAL_DATA = frozenset({"organ", "intake", "auditor"})
APPLICANTS_SIDE = frozenset({"terminal", "intake"})
"""They see what was decided and why, not what organs said to one another before (政府信息公开条例 art. 16)."""
TIMELINE_PAGE, LARGEST_TIMELINE_PAGE = 200, 1000


class CaseServicer:
    """Shows cases as this subsystem knows them, and as the caller may see them."""

    service = pb.DESCRIPTOR.services_by_name["CaseService"]

    def __init__(self, kernel: Kernel, view: CaseView, pages: Pages, *, publishes: bool) -> None:
        self._kernel = kernel
        self._view = view
        self._pages = pages
        self._publishes = publishes
        self._accesses = Accesses(kernel)

    async def GetCase(self, request: pb.GetCaseRequest, call: Call) -> pb.GetCaseResponse:  # noqa: N802 - contract
        """One case."""
        case = await self._kernel.read(
            lambda connection: self._view.find(
                connection, call.caller, call.scope, case_id=request.case_id, case_no=request.case_no
            )
        )
        shown = pb.GetCaseResponse(case=shown_to(call.caller, case))
        return await self._accesses.recorded(shown, case.case_id, call)

    async def ListCases(self, request: pb.ListCasesRequest, call: Call) -> pb.ListCasesResponse:  # noqa: N802
        """Cases, newest first."""
        page = await page_of_cases(self._kernel, self._view, self._pages, request, self._filters(request), call)
        return pb.ListCasesResponse(cases=page.rows, next_page_token=page.next_token)

    async def GetCaseTimeline(  # noqa: N802
        self, request: pb.GetCaseTimelineRequest, call: Call
    ) -> pb.GetCaseTimelineResponse:
        """The case's events."""
        size = min(request.page_size or TIMELINE_PAGE, LARGEST_TIMELINE_PAGE)

        def query(connection: Connection) -> pb.GetCaseTimelineResponse:
            case = self._view.find(connection, call.caller, call.scope, case_id=request.case_id)
            found = timeline.entries(connection, case.case_id, request.after_position, size + 1, _hidden(call.caller))
            entries = list(fitting(islice(found, size), bytes_of))
            following = 0 if next(found, None) is None else entries[-1].position
            return pb.GetCaseTimelineResponse(entries=entries, next_position=following)

        return await self._kernel.read(query)

    async def LocateCase(self, request: pb.LocateCaseRequest, call: Call) -> pb.LocateCaseResponse:  # noqa: N802
        """Where the case's events are."""
        relayed = (await self._kernel.published()).position if self._publishes else None

        def query(connection: Connection) -> pb.LocateCaseResponse:
            case = self._view.find(connection, call.caller, call.scope, case_id=request.case_id)
            return timeline.location(
                connection, self._kernel.subsystem.origin, case.case_id, relayed, _hidden(call.caller)
            )

        return await self._kernel.read(query)

    def _filters(self, request: pb.ListCasesRequest) -> list[ColumnElement[bool]]:
        columns = self._view.table.c
        equal = {
            "state": int(request.state),
            "outcome": int(request.outcome),
            "item_code": request.item_code,
            "lead_id": request.lead_id,
        }
        filters = [columns[name] == value for name, value in equal.items() if value]
        if request.HasField("submitted_from"):
            filters.append(columns.submitted_at >= request.submitted_from.ToMicroseconds())
        if request.HasField("submitted_before"):
            filters.append(columns.submitted_at < request.submitted_before.ToMicroseconds())
        return filters


async def page_of_cases(
    kernel: Kernel,
    view: CaseView,
    pages: Pages,
    request: Message,
    filters: Sequence[ColumnElement[bool]],
    call: Call,
) -> Page[case_pb2.Case]:
    """A page of the caller's cases, newest first, without personal data, documents, steps and answers."""
    bounds = [*filters, *view.own(call.caller, call.scope)]

    async def rows_after(key: str, limit: int) -> Sequence[case_pb2.Case]:
        micros, _, case_id = key.partition("/")
        after = (int(micros), case_id) if key else None
        return await kernel.read(lambda connection: view.page(connection, bounds, after, limit))

    return await page_of(pages, request, rows_after, _key, lambda case: _line(shown_to(call.caller, case)))


def _key(case: case_pb2.Case) -> str:
    return f"{case.application.submitted_at.ToMicroseconds()}/{case.case_id}"


def _line(case: case_pb2.Case) -> case_pb2.Case:
    """A case as a list shows it."""
    redact(case)
    for name in ("documents", "steps", "supplements"):
        case.ClearField(name)
    for standing in case.collaborations:
        for task in standing.tasks:
            task.ClearField("answer")
    return case


def shown_to(caller: Identity, case: case_pb2.Case) -> case_pb2.Case:
    """The case, without personal data for those who may not see it, and without collaborations likewise."""
    if caller.kind not in SEES_PERSONAL_DATA:
        redact(case)
    if caller.kind in APPLICANTS_SIDE:
        case.ClearField("collaborations")
    return case


def _hidden(caller: Identity) -> Collection[str]:
    """Types of events that the caller is not shown."""
    return OF_COLLABORATION if caller.kind in APPLICANTS_SIDE else ()
