"""For each RPC a call that is right in form and changes nothing: about a record, by its owner or by somebody else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from clients.identity import Identity
from ronghe.audit.v1 import audit_service_pb2 as audit
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as case
from ronghe.catalog.v1 import catalog_service_pb2 as catalog
from ronghe.collaboration.v1 import collaboration_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.document.v1 import document_service_pb2 as document
from ronghe.event.v1.event_pb2 import JournalHead
from ronghe.governance.v1 import governance_service_pb2 as governance
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.operations.v1 import operations_service_pb2 as operations
from tests import builders
from tests.e2e.collaborating import now
from tests.e2e.door import ASKED, CENTER, NOBODY, ORGAN, OTHER_CENTER, OTHER_ORGAN, Records
from tests.e2e.drive import AUDITOR, INTAKE, OPERATOR, TERMINAL

DONE, SHOWN, HIDDEN = "done", "shown", "hidden"
"""What became of a call that did not fail; SHOWN and HIDDEN tell whether the record is in the answer."""

ALL_ALIKE: Mapping[str, Identity] = {"operator": OPERATOR, "auditor": AUDITOR}
OWNERS: Mapping[str, Identity] = {
    "service": Identity("service", "governance-01"),
    "terminal": TERMINAL,
    "intake": INTAKE,
    "organ": ORGAN,
    "center": CENTER,
    **ALL_ALIKE,
}
OTHERS: Mapping[str, Identity] = {
    "service": Identity("service", "elsewhere"),
    "terminal": Identity("terminal", "elsewhere"),
    "intake": Identity("intake", "elsewhere"),
    "organ": OTHER_ORGAN,
    "center": OTHER_CENTER,
    **ALL_ALIKE,
}
# The lead is a stranger to the tasks of those that it asked.
OWNERS_OF_TASK, OTHERS_OF_TASK = {**OWNERS, "organ": ASKED}, {**OTHERS, "organ": ORGAN}


@dataclass(frozen=True)
class Probe:
    """One call."""

    request: Callable[[Records], Message]
    own: str
    """What becomes of it where the caller may reach the record: a reason, or DONE or SHOWN. Several, separated by |."""
    foreign: str
    """Where it may not."""
    shows: Callable[[Any, Records], bool] = lambda response, records: True
    is_about_task: bool = False

    def parties(self, *, own: bool) -> Mapping[str, Identity]:
        if self.is_about_task:
            return OWNERS_OF_TASK if own else OTHERS_OF_TASK
        return OWNERS if own else OTHERS


def _read(request: Callable[[Records], Message], foreign: str, shows: Callable[[Any, Records], bool]) -> Probe:
    return Probe(request, SHOWN, foreign, shows)


def _public(request: Message) -> Probe:
    """What everybody is shown who may ask at all."""
    return Probe(lambda records: request, SHOWN, SHOWN)


def _of_case(request: Callable[[Records], Message], own: str) -> Probe:
    return Probe(request, own, "CASE_NOT_FOUND")


def _of_task(request: Callable[[Records], Message], own: str) -> Probe:
    return Probe(request, own, "TASK_NOT_FOUND", is_about_task=True)


def _by_operator(kind: type[Message], own: str, **fields: Any) -> Probe:
    act = {"actor": builders.OFFICER, "reason": "试探"}
    return Probe(
        lambda records: kind(request_id=str(uuid4()), occurred_at=builders.at(now()), **act, **fields), own, own
    )


def _unknown_item(records: Records) -> intake.SubmitApplicationRequest:
    request = builders.submission(now())
    request.item_code = "IT-NONE"
    return request


def _supplement(records: Records) -> intake.SupplementApplicationRequest:
    closed, answers = case_pb2.Case(case_id=records.closed), [case_pb2.LineAnswer(line=1, text="已补正")]
    return builders.supplement(closed, now(), notice_number="X", answers=answers)


def _answer(records: Records) -> collaboration.AnswerTaskRequest:
    """By somebody whose clock is a day slow."""
    task = collaboration_pb2.Task(task_id=records.task)
    return builders.answering(task, now() - timedelta(days=1))


CASES: Mapping[str, Probe] = {
    "GetCase": _read(
        lambda records: case.GetCaseRequest(case_id=records.submitted),
        "CASE_NOT_FOUND", lambda found, records: found.case.case_id == records.submitted),
    "ListCases": _read(
        lambda records: case.ListCasesRequest(page_size=500),
        HIDDEN, lambda found, records: records.submitted in {one.case_id for one in found.cases}),
    "GetCaseTimeline": _read(
        lambda records: case.GetCaseTimelineRequest(case_id=records.submitted),
        "CASE_NOT_FOUND", lambda found, records: found.entries[0].type == "Submitted"),
    "LocateCase": _read(
        lambda records: case.LocateCaseRequest(case_id=records.submitted),
        "CASE_NOT_FOUND", lambda found, records: found.events[0].type == "Submitted"),
}  # fmt: skip
DOCUMENTS: Mapping[str, Probe] = {
    "GetDocument": _read(
        lambda records: document.GetDocumentRequest(case_id=records.submitted, number=records.voucher),
        "CASE_NOT_FOUND", lambda found, records: found.document.number == records.voucher),
}  # fmt: skip
CATALOG: Mapping[str, Probe] = {
    "ListServiceItems": _public(catalog.ListServiceItemsRequest()),
    "GetServiceItem": _public(catalog.GetServiceItemRequest(code=builders.ROAD_WORKS)),
    "ListDivisions": _public(catalog.ListDivisionsRequest()),
    "ListOrgans": _public(catalog.ListOrgansRequest()),
    "ListCenters": _public(catalog.ListCentersRequest()),
    "PreviewCollaborators": _public(
        catalog.PreviewCollaboratorsRequest(item_code=builders.ROAD_WORKS, division=builders.YUZHONG)
    ),
}
AUDIT: Mapping[str, Probe] = {"ListAccesses": _public(audit.ListAccessesRequest())}
OPERATIONS: Mapping[str, Probe] = {
    "GetBridgeStatus": _public(operations.GetBridgeStatusRequest()),
    "VerifyJournal": _public(operations.VerifyJournalRequest(limit=10)),
    "ListJournalHeads": _public(operations.ListJournalHeadsRequest(origin="intake-01")),
    "CompareJournal": _public(operations.CompareJournalRequest(heads=[JournalHead(position=1)])),
    "GetSettings": _public(operations.GetSettingsRequest()),
    "ListDeadLetters": _public(operations.ListDeadLettersRequest()),
    "ListOperatorActs": _public(operations.ListOperatorActsRequest()),
    "GetDeadLetter": Probe(
        lambda records: operations.GetDeadLetterRequest(dead_letter_id=10**12),
        "DEAD_LETTER_NOT_FOUND", "DEAD_LETTER_NOT_FOUND"),
    "RedriveDeadLetter": _by_operator(
        operations.RedriveDeadLetterRequest, "DEAD_LETTER_NOT_FOUND", dead_letter_id=10**12),
    "DiscardDeadLetter": _by_operator(
        operations.DiscardDeadLetterRequest, "DEAD_LETTER_NOT_FOUND", dead_letter_id=10**12),
    "ConfirmClock": _by_operator(operations.ConfirmClockRequest, DONE),
    "AdvanceClock": _by_operator(operations.AdvanceClockRequest, "CLOCK_NOT_STEPPED", by=Duration(seconds=60)),
    # Not every server has every bridge.
    "PauseBridge": _by_operator(
        operations.PauseBridgeRequest, f"{DONE}|BRIDGE_NOT_FOUND", bridge=operations.BRIDGE_INBOX_SOURCE),
    "ResumeBridge": _by_operator(
        operations.ResumeBridgeRequest, f"{DONE}|BRIDGE_NOT_FOUND", bridge=operations.BRIDGE_INBOX_SOURCE),
    # Nobody's: the others shall not miss anything.
    "DrainInbox": _by_operator(operations.DrainInboxRequest, DONE, receiver="organ/nobody"),
    "RepublishSince": _by_operator(
        operations.RepublishSinceRequest, f"{DONE}|BRIDGE_NOT_FOUND", position=10**12),
}  # fmt: skip
INBOX: Mapping[str, Probe] = {
    "OpenInbox": Probe(
        lambda records: inbox.OpenInboxRequest(open=inbox.OpenInboxRequest.Open(credit=1000, from_sequence=1)),
        SHOWN, HIDDEN),
    "FetchInbox": Probe(
        lambda records: inbox.FetchInboxRequest(limit=1000),
        SHOWN, HIDDEN, lambda found, records: bool(cases_of(records) & {item.event.case_id for item in found.items})),
    # Whoever has no session, or another one, may not acknowledge anything.
    "AckInbox": Probe(
        lambda records: inbox.AckInboxRequest(sequences=[10**12]),
        "SEQUENCE_NEVER_SENT|SESSION_TAKEN_OVER", "SEQUENCE_NEVER_SENT|SESSION_TAKEN_OVER"),
}  # fmt: skip
INTAKES: Mapping[str, Probe] = {
    "SubmitApplication": Probe(_unknown_item, "ITEM_NOT_FOUND", "ITEM_NOT_FOUND"),
    "SubmitApplications": Probe(
        lambda records: intake.SubmitApplicationsRequest(applications=[_unknown_item(records)]),
        "ITEM_NOT_FOUND", "ITEM_NOT_FOUND"),
    "SupplementApplication": _of_case(_supplement, "ILLEGAL_STATE"),
    "RequestWithdrawal": _of_case(lambda records: builders.withdrawal(records.closed, now()), "ILLEGAL_STATE"),
    "GetApplication": _read(
        lambda records: intake.GetApplicationRequest(case_id=records.submitted),
        "CASE_NOT_FOUND", lambda found, records: found.case.case_id == records.submitted),
    "GetApplicationByQueryCode": _read(
        lambda records: intake.GetApplicationByQueryCodeRequest(
            case_no=records.submitted_no, query_code=records.query_code),
        "QUERY_CODE_WRONG", lambda found, records: found.case.case_id == records.submitted),
    "ListApplications": _read(
        lambda records: intake.ListApplicationsRequest(page_size=500),
        HIDDEN, lambda found, records: records.submitted in {one.case_id for one in found.cases}),
}  # fmt: skip
DEPARTMENTS: Mapping[str, Probe] = {
    "AcceptApplication": _of_case(lambda records: builders.acceptance(records.closed, now()), "ILLEGAL_STATE"),
    "RefuseAcceptance": _of_case(lambda records: builders.refusal(records.closed, now()), "ILLEGAL_STATE"),
    "RequestCorrection": _of_case(lambda records: builders.correction(records.closed, now()), "ILLEGAL_STATE"),
    "RecordStep": _of_case(lambda records: builders.step(records.closed, now()), "ILLEGAL_STATE"),
    "DecideApplication": _of_case(lambda records: builders.denial(records.closed, now(), 1), "CASE_CHANGED"),
    "CloseCase": _of_case(lambda records: builders.closing(records.closed, now()), "ILLEGAL_STATE"),
    "ExecuteCommands": _of_case(
        lambda records: department.ExecuteCommandsRequest(commands=[
            department.ExecuteCommandsRequest.Command(close_case=builders.closing(records.closed, now()))]),
        "ILLEGAL_STATE"),
}  # fmt: skip
COLLABORATIONS: Mapping[str, Probe] = {
    "RequestCollaboration": _of_case(
        lambda records: builders.asking(records.asking, now(), "traffic-police"), "ALREADY_ASKED"),
    "RecallCollaboration": _of_case(
        lambda records: builders.recall(records.asking, now(), NOBODY), "COLLABORATION_NOT_FOUND"),
    "GetCollaboration": _read(
        lambda records: collaboration.GetCollaborationRequest(collaboration_id=records.collaboration),
        "COLLABORATION_NOT_FOUND", lambda found, records: found.collaboration.event_no == records.event_no),
    "ListCollaborations": _read(
        lambda records: collaboration.ListCollaborationsRequest(page_size=500),
        HIDDEN, lambda found, records: records.event_no in {one.event_no for one in found.collaborations}),
    "GetTask": Probe(
        lambda records: collaboration.GetTaskRequest(task_id=records.task),
        SHOWN, "TASK_NOT_FOUND", lambda found, records: found.task.task_id == records.task, is_about_task=True),
    "ListTasks": Probe(
        lambda records: collaboration.ListTasksRequest(page_size=500),
        SHOWN, HIDDEN, lambda found, records: records.task in {one.task_id for one in found.tasks},
        is_about_task=True),
    "SignForTask": _of_task(lambda records: builders.signing(records.task, now()), "ILLEGAL_STATE"),
    "AnswerTask": _of_task(_answer, "OCCURRED_AT_OUT_OF_RANGE"),
    "ReturnTask": _of_task(lambda records: builders.returning(records.task, now(), "nobody"), "ORGAN_NOT_FOUND"),
}  # fmt: skip
GOVERNANCE: Mapping[str, Probe] = {
    "RouteCollaboration": Probe(
        lambda records: builders.routing(records.collaboration, records.task, now(), organ_id=ORGAN.id),
        "INVALID_FIELD", "COLLABORATION_NOT_FOUND"),
    "ListHops": _read(
        lambda records: governance.ListHopsRequest(collaboration_id=records.collaboration),
        "COLLABORATION_NOT_FOUND", lambda found, records: records.task in {hop.task_id for hop in found.hops}),
    "GetSummary": _read(
        lambda records: governance.GetSummaryRequest(center_id=CENTER.id),
        "CENTER_NOT_FOUND", lambda found, records: found.center_id == CENTER.id),
}  # fmt: skip

PROBES: Mapping[str, Probe] = {
    f"ronghe.{package}.v1.{service}/{name}": probe
    for package, service, probes in (
        ("intake", "IntakeService", INTAKES),
        ("department", "DepartmentService", DEPARTMENTS),
        ("collaboration", "CollaborationService", COLLABORATIONS),
        ("governance", "GovernanceService", GOVERNANCE),
        ("inbox", "InboxService", INBOX),
        ("case", "CaseService", CASES),
        ("document", "DocumentService", DOCUMENTS),
        ("catalog", "CatalogService", CATALOG),
        ("audit", "AuditService", AUDIT),
        ("operations", "OperationsService", OPERATIONS),
    )
    for name, probe in probes.items()
}


def cases_of(records: Records) -> set[str]:
    """The cases of the owners."""
    return {records.submitted, records.noticed, records.asking, records.closed}
