"""Three toy subsystems with real servers and certificates, for the tests of the command line."""
# ruff: noqa: N802 - the contract's names

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.catalog.v1 import catalog_pb2
from ronghe.catalog.v1 import catalog_service_pb2 as catalog
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.document.v1 import document_pb2, document_service_pb2
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.operations.v1 import operations_service_pb2 as operations
from servers.kernel.stream import Refused
from servers.rpc.call import Call
from servers.rpc.server import Limits, serving
from servers.rpc.wrapper import Servicer
from tests.unit.rpc_support import Authority, SpanList

CASE_ID = "0199f2a0-1c3d-7e4f-8a5b-6c7d8e9f0a1b"
CASE_NO = "5001030101XKYD20261123010000000001"
VERSION = 7
ORGAN = Identity("organ", "urban-mgmt-500103")
CALLERS = (ORGAN, Identity("operator", "local"), Identity("terminal", "yukuaiban"), Identity("intake", "yukuaiban"))

FORM = (
    catalog_pb2.FormField(name="purpose", label="目的", type=catalog_pb2.FormField.TYPE_TEXT),
    catalog_pb2.FormField(name="area_m2", label="面积", type=catalog_pb2.FormField.TYPE_NUMBER),
    catalog_pb2.FormField(name="city_road", label="市管道路", type=catalog_pb2.FormField.TYPE_FLAG),
    catalog_pb2.FormField(name="first_day", label="首日", type=catalog_pb2.FormField.TYPE_DATE),
    catalog_pb2.FormField(name="guardian", label="监护人", type=catalog_pb2.FormField.TYPE_TEXT, personal=True),
)
ITEM = catalog_pb2.ServiceItem(code="IT-001", version=1, name="[red]挖掘城市道路[/red]", form=FORM)


class Unused:
    """Answers for the methods that no test calls."""

    def __getattr__(self, name: str) -> Any:
        if not name[0].isupper():
            raise AttributeError(name)

        async def unused(request: Any, call: Call) -> Any:
            raise AssertionError(f"no test calls {name}")

        return unused


class ToyCases(Unused):
    """Knows one case, or, after `forget`, none."""

    service = cases.DESCRIPTOR.services_by_name["CaseService"]

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.knows = True
        self.events: list[cases.EventLocation] = []

    def _check(self, *names: str) -> None:
        if not self.knows or not {CASE_ID, CASE_NO} & set(names):
            raise Refused(Reason.REASON_CASE_NOT_FOUND, "there is no such case among those you may see")

    async def GetCase(self, request: cases.GetCaseRequest, call: Call) -> cases.GetCaseResponse:
        self._check(request.case_id, request.case_no)
        return cases.GetCaseResponse(case=case())

    async def ListCases(self, request: cases.ListCasesRequest, call: Call) -> cases.ListCasesResponse:
        return cases.ListCasesResponse(cases=[case()], next_page_token="further")  # noqa: S106 - of a page

    async def GetCaseTimeline(self, request: cases.GetCaseTimelineRequest, call: Call) -> cases.GetCaseTimelineResponse:
        """One entry on each of two pages."""
        self._check(request.case_id)
        position = request.after_position + 1
        entry = cases.TimelineEntry(position=position, type="Closed", origin=self.origin)
        entry.fact.Pack(event_pb2.Closed())
        return cases.GetCaseTimelineResponse(entries=[entry], next_position=position if position == 1 else 0)

    async def LocateCase(self, request: cases.LocateCaseRequest, call: Call) -> cases.LocateCaseResponse:
        self._check(request.case_id)
        return cases.LocateCaseResponse(origin=self.origin, events=self.events)


class ToyCatalog(Unused):
    """Has one item."""

    service = catalog.DESCRIPTOR.services_by_name["CatalogService"]

    async def GetServiceItem(
        self, request: catalog.GetServiceItemRequest, call: Call
    ) -> catalog.GetServiceItemResponse:
        return catalog.GetServiceItemResponse(item=ITEM)

    async def ListServiceItems(
        self, request: catalog.ListServiceItemsRequest, call: Call
    ) -> catalog.ListServiceItemsResponse:
        """The item on each of two pages."""
        return catalog.ListServiceItemsResponse(items=[ITEM], next_page_token="" if request.page_token else "2")


class ToyDocuments:
    """Gives the caller's name as text."""

    service = document_service_pb2.DESCRIPTOR.services_by_name["DocumentService"]

    async def GetDocument(
        self, request: document_service_pb2.GetDocumentRequest, call: Call
    ) -> document_service_pb2.GetDocumentResponse:
        paper = document_pb2.Document(number=request.number)
        return document_service_pb2.GetDocumentResponse(document=paper, text=f"受理通知书 [b]{call.caller}")


class ToyIntake(Unused):
    """Keeps the applications."""

    service = intake.DESCRIPTOR.services_by_name["IntakeService"]

    def __init__(self) -> None:
        self.applications: list[intake.SubmitApplicationRequest] = []
        self.supplements: list[intake.SupplementApplicationRequest] = []

    async def SubmitApplication(
        self, request: intake.SubmitApplicationRequest, call: Call
    ) -> intake.SubmitApplicationResponse:
        self.applications.append(request)
        return intake.SubmitApplicationResponse(case_id=CASE_ID, case_no=CASE_NO, query_code="2KX9WHY5AN")

    async def SupplementApplication(
        self, request: intake.SupplementApplicationRequest, call: Call
    ) -> intake.SupplementApplicationResponse:
        self.supplements.append(request)
        return intake.SupplementApplicationResponse(state=case_pb2.STATE_CORRECTION_REQUESTED)


class ToyDepartment(Unused):
    """Keeps the decisions; every closing comes too early."""

    service = department.DESCRIPTOR.services_by_name["DepartmentService"]

    def __init__(self) -> None:
        self.decisions: list[department.DecideApplicationRequest] = []

    async def DecideApplication(
        self, request: department.DecideApplicationRequest, call: Call
    ) -> department.DecideApplicationResponse:
        self.decisions.append(request)
        return department.DecideApplicationResponse(version=request.if_version + 1)

    async def CloseCase(self, request: department.CloseCaseRequest, call: Call) -> department.CloseCaseResponse:
        raise Refused(Reason.REASON_ILLEGAL_STATE, "CloseCase is legal in DECIDED,\nand the case is in ACCEPTED")


class ToyInbox(Unused):
    """Has two items for everyone."""

    service = inbox.DESCRIPTOR.services_by_name["InboxService"]

    def __init__(self) -> None:
        self.acknowledged: list[int] = []

    async def FetchInbox(self, request: inbox.FetchInboxRequest, call: Call) -> inbox.FetchInboxResponse:
        event = event_pb2.Event(case_id=CASE_ID, origin="intake-01")
        event.fact.Pack(event_pb2.Submitted())
        items = [inbox.InboxItem(sequence=number, event=event) for number in (1, 2)]
        return inbox.FetchInboxResponse(epoch=1, items=items)

    async def AckInbox(self, request: inbox.AckInboxRequest, call: Call) -> inbox.AckInboxResponse:
        self.acknowledged += request.sequences
        return inbox.AckInboxResponse()


class ToyOperations(Unused):
    """Has a journal of 15 rows, walked ten at a time."""

    service = operations.DESCRIPTOR.services_by_name["OperationsService"]

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.fault: operations.VerifyJournalResponse.Fault | None = None

    async def GetBridgeStatus(
        self, request: operations.GetBridgeStatusRequest, call: Call
    ) -> operations.GetBridgeStatusResponse:
        return operations.GetBridgeStatusResponse(origin=self.origin, journal_position=15)

    async def VerifyJournal(
        self, request: operations.VerifyJournalRequest, call: Call
    ) -> operations.VerifyJournalResponse:
        position = min(request.after_position + 10, 15)
        rows = position - request.after_position
        finished = position == 15 and self.fault is None
        return operations.VerifyJournalResponse(position=position, rows=rows, finished=finished, fault=self.fault)

    async def GetSettings(self, request: operations.GetSettingsRequest, call: Call) -> operations.GetSettingsResponse:
        setting = operations.GetSettingsResponse.Setting(name="origin", value=self.origin)
        return operations.GetSettingsResponse(settings=[setting])


@dataclass
class ToySubsystem:
    """One server's servicers."""

    name: str
    intake: ToyIntake = field(default_factory=ToyIntake)
    department: ToyDepartment = field(default_factory=ToyDepartment)
    inbox: ToyInbox = field(default_factory=ToyInbox)

    def __post_init__(self) -> None:
        self.cases = ToyCases(self.origin)
        self.operations = ToyOperations(self.origin)

    @property
    def origin(self) -> str:
        return f"{self.name}-01"

    def servicers(self) -> Sequence[Servicer]:
        own: dict[str, Servicer] = {"intake": self.intake, "department": self.department}
        common = (self.cases, self.operations, self.inbox, ToyCatalog(), ToyDocuments())
        return [*common, *([own[self.name]] if self.name in own else [])]


@dataclass
class ToyMesh:
    """A data directory, and the servers it names."""

    data: Path
    intake: ToySubsystem
    governance: ToySubsystem
    department: ToySubsystem


@contextmanager
def toy_mesh(data: Path) -> Iterator[ToyMesh]:
    """Serve on a thread of its own: commands run their own loops."""
    subsystems = [ToySubsystem(name) for name in ("intake", "governance", "department")]
    authority = Authority(data / "pki")
    for identity in (*CALLERS, *(Identity("service", each.origin) for each in subsystems)):
        authority.issue(identity)
    ready, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(data, authority, subsystems, ready, stop)))
    thread.start()
    try:
        assert ready.wait(10)
        yield ToyMesh(data, *subsystems)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def _serve(
    data: Path, authority: Authority, subsystems: Sequence[ToySubsystem], ready: threading.Event, stop: asyncio.Event
) -> None:
    async with AsyncExitStack() as stack:
        endpoints = {}
        for each in subsystems:
            credentials = authority.credentials(Identity("service", each.origin))
            server = serving(each.servicers(), "127.0.0.1:0", credentials, SpanList(), limits=Limits(grace=1.0))
            port = (await stack.enter_async_context(server)).port
            endpoints[each.name] = {"address": f"127.0.0.1:{port}", "pid": 1}
        (data / "run").mkdir()
        (data / "run" / "endpoints.json").write_text(json.dumps(endpoints))
        ready.set()
        await stop.wait()


def case() -> case_pb2.Case:
    """The one case there is, with a correction notice open."""
    application = case_pb2.Application(
        case_no=CASE_NO, item=ITEM, lead=catalog_pb2.Organ(id=ORGAN.id), channel=case_pb2.CHANNEL_APP
    )
    return case_pb2.Case(
        case_id=CASE_ID,
        case_no=CASE_NO,
        state=case_pb2.STATE_CORRECTION_REQUESTED,
        version=VERSION,
        application=application,
        open_notice=f"{CASE_NO}-BZ-01",
    )
