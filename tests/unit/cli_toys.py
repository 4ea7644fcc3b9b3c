"""Toy servicers, for the tests of the command line: each knows one thing and keeps what it is told."""
# ruff: noqa: N802 - the contract's names

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.catalog.v1 import catalog_pb2
from ronghe.catalog.v1 import catalog_service_pb2 as catalog
from ronghe.collaboration.v1 import collaboration_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaborations
from ronghe.collaboration.v1.collaboration_pb2 import Answer, Collaboration, Standing, Task, TaskStanding
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.document.v1 import document_pb2, document_service_pb2
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2
from ronghe.event.v1.event_pb2 import JournalHead
from ronghe.governance.v1 import governance_service_pb2 as governance
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.operations.v1 import operations_service_pb2 as operations
from ronghe.party.v1 import party_pb2
from servers.kernel.stream import Refused
from servers.rpc.call import Call

CASE_ID = "0199f2a0-1c3d-7e4f-8a5b-6c7d8e9f0a1b"
CASE_NO = "5001030101XKYD20261123010000000001"
VERSION = 7
ORGAN = Identity("organ", "urban-mgmt-500103")
COLLABORATOR = Identity("organ", "fire-500103")
CENTER = Identity("center", "500103")
CALLERS = (
    ORGAN,
    COLLABORATOR,
    CENTER,
    Identity("operator", "local"),
    Identity("terminal", "yukuaiban"),
    Identity("intake", "yukuaiban"),
)
# One collaboration concluded; a second one is on its way, without a number yet.
EVENT_NO = "SJ500103202611230001"
CONCLUDED_ID = "0199f2a0-2222-7e4f-8a5b-000000000001"
REQUESTED_ID = "0199f2a0-2222-7e4f-8a5b-000000000002"
TASK_ID = "0199f2a0-3333-7e4f-8a5b-000000000001"
HELD_ID = "0199f2a0-3333-7e4f-8a5b-000000000002"

FORM = (
    catalog_pb2.FormField(name="purpose", label="目的", type=catalog_pb2.FormField.TYPE_TEXT),
    catalog_pb2.FormField(name="area_m2", label="面积", type=catalog_pb2.FormField.TYPE_NUMBER),
    catalog_pb2.FormField(name="city_road", label="市管道路", type=catalog_pb2.FormField.TYPE_FLAG),
    catalog_pb2.FormField(name="first_day", label="首日", type=catalog_pb2.FormField.TYPE_DATE),
    catalog_pb2.FormField(name="guardian", label="监护人", type=catalog_pb2.FormField.TYPE_TEXT, personal=True),
)
ITEM = catalog_pb2.ServiceItem(code="IT-001", version=1, name="[red]挖掘城市道路[/red]", form=FORM)

ANSWER = Answer(opinion=Answer.OPINION_AGREE_WITH_CONDITIONS, conditions=["夜间施工"])


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
        event_id = str(UUID(int=position))
        entry = cases.TimelineEntry(position=position, event_id=event_id, type="Closed", origin=self.origin)
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
        kind = document_pb2.Document.KIND_ACCEPTANCE_RECEIPT
        paper = document_pb2.Document(number=request.number, kind=kind, reasons=["[b]材料齐全[/b]"])
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
    """Keeps acceptances, notices and decisions; every closing comes too early."""

    service = department.DESCRIPTOR.services_by_name["DepartmentService"]

    def __init__(self) -> None:
        self.acceptances: list[department.AcceptApplicationRequest] = []
        self.notices: list[department.RequestCorrectionRequest] = []
        self.decisions: list[department.DecideApplicationRequest] = []

    async def AcceptApplication(
        self, request: department.AcceptApplicationRequest, call: Call
    ) -> department.AcceptApplicationResponse:
        self.acceptances.append(request)
        return department.AcceptApplicationResponse(version=VERSION + 1)

    async def RequestCorrection(
        self, request: department.RequestCorrectionRequest, call: Call
    ) -> department.RequestCorrectionResponse:
        self.notices.append(request)
        return department.RequestCorrectionResponse(version=VERSION + 1)

    async def DecideApplication(
        self, request: department.DecideApplicationRequest, call: Call
    ) -> department.DecideApplicationResponse:
        self.decisions.append(request)
        return department.DecideApplicationResponse(version=request.if_version + 1)

    async def ExecuteCommands(
        self, requests: AsyncIterator[department.ExecuteCommandsRequest], call: Call
    ) -> AsyncIterator[department.ExecuteCommandsResponse]:
        async for request in requests:
            response = department.ExecuteCommandsResponse()
            for command in request.commands:
                name = command.WhichOneof("command")
                assert name is not None
                getattr(response.results.add(request_id=getattr(command, name).request_id), name).version = VERSION
            yield response

    async def CloseCase(self, request: department.CloseCaseRequest, call: Call) -> department.CloseCaseResponse:
        raise Refused(
            Reason.REASON_ILLEGAL_STATE,
            "CloseCase is legal in DECIDED,\nand the case is in ACCEPTED",
            {"state": "ACCEPTED", "command": "CloseCase"},
        )


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
        self.misfit: operations.VerifyJournalResponse.Fault | None = None
        self.held: list[operations.ListJournalHeadsResponse.HeldHead] = []
        self.compared: list[JournalHead] = []
        self.failure: Exception | None = None
        """What calls about the journal end with."""

    async def GetBridgeStatus(
        self, request: operations.GetBridgeStatusRequest, call: Call
    ) -> operations.GetBridgeStatusResponse:
        return operations.GetBridgeStatusResponse(origin=self.origin, journal_position=15)

    async def VerifyJournal(
        self, request: operations.VerifyJournalRequest, call: Call
    ) -> operations.VerifyJournalResponse:
        self._fail()
        position = min(request.after_position + 10, 15)
        rows = position - request.after_position
        finished = position == 15 and self.fault is None
        return operations.VerifyJournalResponse(
            position=position, rows=rows, finished=finished, fault=self.fault, origin=self.origin
        )

    async def ListJournalHeads(
        self, request: operations.ListJournalHeadsRequest, call: Call
    ) -> operations.ListJournalHeadsResponse:
        self._fail()
        start = int(request.page_token or 0)
        end = start + request.page_size
        token = str(end) if end < len(self.held) else ""
        return operations.ListJournalHeadsResponse(heads=self.held[start:end], next_page_token=token)

    async def CompareJournal(
        self, request: operations.CompareJournalRequest, call: Call
    ) -> operations.CompareJournalResponse:
        self.compared += request.heads
        return operations.CompareJournalResponse(fault=self.misfit)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def GetSettings(self, request: operations.GetSettingsRequest, call: Call) -> operations.GetSettingsResponse:
        setting = operations.GetSettingsResponse.Setting(name="origin", value=self.origin)
        return operations.GetSettingsResponse(settings=[setting])


class ToyCollaborations(Unused):
    """Has one collaboration and one task of it, and keeps what it is asked and told."""

    service = collaborations.DESCRIPTOR.services_by_name["CollaborationService"]

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.task_state: Task.State.ValueType = Task.STATE_ASSIGNED

    async def RequestCollaboration(
        self, request: collaborations.RequestCollaborationRequest, call: Call
    ) -> collaborations.RequestCollaborationResponse:
        self.requests.append(request)
        return collaborations.RequestCollaborationResponse(collaboration_id=REQUESTED_ID, round=2, version=VERSION + 1)

    async def RecallCollaboration(
        self, request: collaborations.RecallCollaborationRequest, call: Call
    ) -> collaborations.RecallCollaborationResponse:
        self.requests.append(request)
        return collaborations.RecallCollaborationResponse(version=VERSION + 1)

    async def GetCollaboration(
        self, request: collaborations.GetCollaborationRequest, call: Call
    ) -> collaborations.GetCollaborationResponse:
        if not {request.event_no, request.collaboration_id} & {EVENT_NO, CONCLUDED_ID}:
            raise Refused(Reason.REASON_COLLABORATION_NOT_FOUND, "there is no such collaboration among yours")
        return collaborations.GetCollaborationResponse(collaboration=collaboration())

    async def ListCollaborations(
        self, request: collaborations.ListCollaborationsRequest, call: Call
    ) -> collaborations.ListCollaborationsResponse:
        self.requests.append(request)
        return collaborations.ListCollaborationsResponse(collaborations=[collaboration()])

    async def GetTask(self, request: collaborations.GetTaskRequest, call: Call) -> collaborations.GetTaskResponse:
        return collaborations.GetTaskResponse(task=task(self.task_state))

    async def ListTasks(self, request: collaborations.ListTasksRequest, call: Call) -> collaborations.ListTasksResponse:
        self.requests.append(request)
        return collaborations.ListTasksResponse(tasks=[task(self.task_state)])

    async def SignForTask(
        self, request: collaborations.SignForTaskRequest, call: Call
    ) -> collaborations.SignForTaskResponse:
        self.requests.append(request)
        return collaborations.SignForTaskResponse(reply_due=task(Task.STATE_SIGNED).reply_due, version=2)

    async def AnswerTask(
        self, request: collaborations.AnswerTaskRequest, call: Call
    ) -> collaborations.AnswerTaskResponse:
        self.requests.append(request)
        return collaborations.AnswerTaskResponse(version=3)

    async def ReturnTask(
        self, request: collaborations.ReturnTaskRequest, call: Call
    ) -> collaborations.ReturnTaskResponse:
        self.requests.append(request)
        return collaborations.ReturnTaskResponse(version=3)


class ToyGovernance(Unused):
    """Routes what it is told to, and has a hop of each task on each of two pages."""

    service = governance.DESCRIPTOR.services_by_name["GovernanceService"]

    def __init__(self) -> None:
        self.routings: list[governance.RouteCollaborationRequest] = []

    async def RouteCollaboration(
        self, request: governance.RouteCollaborationRequest, call: Call
    ) -> governance.RouteCollaborationResponse:
        self.routings.append(request)
        return governance.RouteCollaborationResponse(hops=[hop(1)], version=9)

    async def ListHops(self, request: governance.ListHopsRequest, call: Call) -> governance.ListHopsResponse:
        number = 2 if request.page_token else 1
        hops = [governance.TaskHop(task_id=each, hop=hop(number)) for each in (TASK_ID, HELD_ID)]
        return governance.ListHopsResponse(hops=hops, next_page_token="" if request.page_token else "2")

    async def GetSummary(self, request: governance.GetSummaryRequest, call: Call) -> governance.GetSummaryResponse:
        response = governance.GetSummaryResponse(center_id=request.center_id or call.caller.id)
        response.collaborations_by_state.add(state=Collaboration.STATE_OPENED, count=3)
        response.tasks_by_state.add(state=Task.STATE_SIGNED, count=4)
        response.open_tasks_by_organ.add(organ_id=COLLABORATOR.id, count=2)
        return response


def case() -> case_pb2.Case:
    """The one case there is, with a correction notice open, and asked about twice."""
    asked = TaskStanding(task_id=TASK_ID, organ_id=COLLABORATOR.id, organ_name="消防", answer=ANSWER)
    concluded = Standing(
        collaboration_id=CONCLUDED_ID, event_no=EVENT_NO, round=1, state=Collaboration.STATE_CONCLUDED, tasks=[asked]
    )
    requested = Standing(collaboration_id=REQUESTED_ID, round=2, state=Collaboration.STATE_REQUESTED, rules=["parks"])
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
        judgement=case_pb2.Judgement(collaboration_needed=True, reason="涉及消防", rules_to_ask=["fire", "traffic"]),
        collaborations=[concluded, requested],
    )


def collaboration() -> Collaboration:
    """The one collaboration: a task answered, another one waiting for an officer."""
    held = Task(
        task_id=HELD_ID,
        state=Task.STATE_WAITING_FOR_OFFICER,
        organ=catalog_pb2.Organ(id="traffic-500103"),
        waiting_at=CENTER.id,
        waiting_because="三次退回",
    )
    held.assignments.add(number=1, organ=held.organ, return_reason="非本部门职责", suggested_organ_id="police-500103")
    answered = task(Task.STATE_ANSWERED)
    answered.answer.CopyFrom(ANSWER)
    answered.hops.extend([hop(1), hop(2)])
    return Collaboration(
        collaboration_id=CONCLUDED_ID,
        event_no=EVENT_NO,
        case_id=CASE_ID,
        case_no=CASE_NO,
        round=1,
        state=Collaboration.STATE_OPENED,
        completion=collaboration_pb2.COMPLETION_ALL_MUST_ANSWER,
        lead=catalog_pb2.Organ(id=ORGAN.id),
        center_id=CENTER.id,
        tier=catalog_pb2.TIER_DISTRICT,
        tasks=[answered, held],
    )


def task(state: "Task.State.ValueType") -> Task:
    """The task as its collaborator sees it."""
    brief = collaboration_pb2.Brief(
        event_no=EVENT_NO,
        round=1,
        kind=catalog_pb2.COLLABORATION_KIND_CO_APPROVAL,
        lead=catalog_pb2.Organ(id=ORGAN.id),
        question="是否影响消防通道?",
        reply_limit=catalog_pb2.Limit(value=5, unit=catalog_pb2.Limit.UNIT_WORKING_DAY),
        silence_policy=catalog_pb2.SILENCE_POLICY_BLOCK,
        form=[party_pb2.FormValue(name="area_m2", number=12.5), party_pb2.FormValue(name="city_road", flag=True)],
        personal=party_pb2.PersonalData(applicant=party_pb2.Party(name="王小明", mobile="13800000000")),
    )
    found = Task(task_id=TASK_ID, state=state, organ=catalog_pb2.Organ(id=COLLABORATOR.id), brief=brief)
    if state == Task.STATE_SIGNED:
        found.reply_due.date.CopyFrom(Date(year=2026, month=11, day=30))
    return found


def hop(number: int) -> collaboration_pb2.Hop:
    """From the lead to its center, and from there to the collaborator."""
    stations = [str(ORGAN), str(CENTER), str(COLLABORATOR)]
    found = collaboration_pb2.Hop(number=number, to=stations[number], at=Timestamp(seconds=1_795_000_000 + number))
    setattr(found, "from", stations[number - 1])
    return found
