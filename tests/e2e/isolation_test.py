from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from clients.demo.plan import Desk
from clients.demo.story import OFFICER, REMEDIES
from clients.department import DepartmentClient
from clients.errors import Forbidden, NotFound, RongheError
from clients.identity import Identity
from clients.intake import IntakeClient
from clients.subsystem import SubsystemClient
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.document.v1 import document_service_pb2 as documents
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.operations.v1 import operations_service_pb2 as operations
from tests.e2e.conftest import STRANGERS
from tests.e2e.drive import INTAKE, OPERATOR, SUBSYSTEMS, TERMINAL, Counter, Mesh, counter, replay

ELSEWHERE, TERMINAL_ELSEWHERE = STRANGERS
SERVICE = Identity("service", "governance-01")
Call = Callable[[], Awaitable[object]]


@pytest.fixture
async def here(mesh: Mesh, desks: Sequence[Desk]) -> AsyncIterator[Counter]:
    async with counter(mesh, desks[0]) as opened:
        yield opened


@pytest.fixture
async def case_id(here: Counter) -> str:
    """A case that was accepted, with a correction notice open."""
    found = (await here.submit()).case_id
    await here.delivered(found)
    await here.accept(found)
    await here.noticed(found, (await here.correct(found)).notice.number)
    return found


@pytest.mark.parametrize("subsystem", SUBSYSTEMS)
@pytest.mark.parametrize("stranger", ["organ", "intake", "terminal"])
async def test_a_stranger_finds_nothing_of_a_case(
    mesh: Mesh, desks: Sequence[Desk], case_id: str, subsystem: str, stranger: str
) -> None:
    others = {"organ": Identity("organ", desks[1].organ.id), "intake": ELSEWHERE, "terminal": TERMINAL_ELSEWHERE}
    case_no = _number(mesh, subsystem, case_id)
    async with mesh.client(subsystem, others[stranger]) as client:
        for call in _reads(client, case_id, case_no):
            assert await _reason(call()) == "CASE_NOT_FOUND"
        listed = await client.cases.list_cases(cases.ListCasesRequest(page_size=500))
    assert case_id not in {case.case_id for case in listed.cases}
    if stranger != "organ":
        assert not listed.cases


async def test_unknown_and_foreign_cases_answer_alike(mesh: Mesh, case_id: str) -> None:
    async with mesh.client("intake", ELSEWHERE) as client:
        answers = []
        for asked in (case_id, "01a208bc-0000-7000-8000-000000000000"):
            with pytest.raises(NotFound) as failed:
                await client.cases.get_case(cases.GetCaseRequest(case_id=asked))
            answers.append((failed.value.reason, failed.value.message, dict(failed.value.metadata)))
    assert answers[0] == answers[1]


async def test_another_organ_cannot_act_on_a_case(mesh: Mesh, desks: Sequence[Desk], case_id: str) -> None:
    async with mesh.department(desks[1].organ.id) as other:
        for call in _acts_of_an_organ(other, case_id):
            assert await _reason(call()) == "CASE_NOT_FOUND"


async def test_another_intake_system_cannot_act_on_a_case(mesh: Mesh, here: Counter, case_id: str) -> None:
    for identity in STRANGERS:
        async with mesh.intake(identity) as other:
            assert not (await other.list_applications(intake.ListApplicationsRequest())).cases
            for call in _acts_of_an_applicant(other, here, case_id):
                assert await _reason(call()) == "CASE_NOT_FOUND"


async def test_a_stranger_gets_nothing_into_its_inbox(mesh: Mesh, desks: Sequence[Desk], case_id: str) -> None:
    fetch = inbox.FetchInboxRequest(limit=1000, wait=Duration(nanos=300_000_000))
    for subsystem, stranger in (("intake", ELSEWHERE), ("governance", ELSEWHERE), ("governance", INTAKE)):
        async with mesh.client(subsystem, stranger) as client:
            assert not (await client.fetch_inbox(fetch)).items
    for subsystem in SUBSYSTEMS:
        async with mesh.client(subsystem, Identity("organ", desks[1].organ.id)) as client:
            items = (await client.fetch_inbox(fetch)).items
        assert case_id not in {item.event.case_id for item in items}


async def test_a_replayed_inbox_has_only_what_is_its_own(mesh: Mesh, desks: Sequence[Desk], case_id: str) -> None:
    for desk in desks[:2]:
        organ = Identity("organ", desk.organ.id)
        replayed = {event.case_id for event in await replay(mesh, "department", organ)}
        led = mesh.rows("department", "SELECT case_id FROM stream_organ_case WHERE lead_id = ?", organ.id)
        assert replayed == {found for (found,) in led}
        assert (case_id in replayed) is (desk is desks[0])
    assert case_id in {event.case_id for event in await replay(mesh, "intake", INTAKE)}
    assert await replay(mesh, "intake", ELSEWHERE) == []


async def test_callers_of_the_wrong_kind_are_refused_everywhere(
    mesh: Mesh, desks: Sequence[Desk], here: Counter, case_id: str
) -> None:
    organ = Identity("organ", desks[0].organ.id)
    async with AsyncExitStack() as stack:
        intaker = await stack.enter_async_context(mesh.intake(organ))
        for call in (
            lambda: intaker.submit_application(here.application()),
            *_acts_of_an_applicant(intaker, here, case_id),
        ):
            assert await _reason(call()) == "CALLER_KIND_NOT_ALLOWED"
        for identity in (TERMINAL, INTAKE, OPERATOR, SERVICE):
            target = mesh.addresses["department"]
            back_office = await stack.enter_async_context(DepartmentClient(target, mesh.pki, identity))
            for call in _acts_of_an_organ(back_office, case_id):
                assert await _reason(call()) == "CALLER_KIND_NOT_ALLOWED"
        for subsystem in SUBSYSTEMS:
            for identity, refused in _refused(organ):
                client = await stack.enter_async_context(mesh.client(subsystem, identity))
                for name in refused:
                    assert await _reason(_shared(client, case_id)[name]()) == "CALLER_KIND_NOT_ALLOWED", (
                        subsystem,
                        str(identity),
                        name,
                    )


async def test_a_bulk_stream_of_the_wrong_kind_is_refused(mesh: Mesh, desks: Sequence[Desk], here: Counter) -> None:
    async with mesh.intake(Identity("organ", desks[0].organ.id)) as organ:
        with pytest.raises(Forbidden) as failed:
            async for _ in organ.submit_many([here.application()]):
                pass
    assert failed.value.reason == "CALLER_KIND_NOT_ALLOWED"


def _refused(organ: Identity) -> Sequence[tuple[Identity, Sequence[str]]]:
    """Who may not call what of the services that every subsystem has."""
    cases_and_papers = ("case", "cases", "timeline", "location", "document")
    managing = ("status", "verify", "settings")
    return (
        (TERMINAL, ("fetch", "ack", "open", *managing)),
        (INTAKE, managing),
        (organ, managing),
        (SERVICE, (*cases_and_papers, *managing)),
        (OPERATOR, ("fetch", "ack", "open", "document")),
    )


def _shared(client: SubsystemClient, case_id: str) -> dict[str, Call]:
    case, timeline, location, _, document = _reads(client, case_id, "")

    async def open_inbox() -> None:
        async for _ in client.inbox():
            pass

    return {
        "case": case,
        "timeline": timeline,
        "location": location,
        "document": document,
        "cases": lambda: client.cases.list_cases(cases.ListCasesRequest()),
        "fetch": lambda: client.fetch_inbox(inbox.FetchInboxRequest()),
        "ack": lambda: client.ack_inbox(inbox.AckInboxRequest()),
        "open": open_inbox,
        "status": lambda: client.operations.get_bridge_status(operations.GetBridgeStatusRequest()),
        "verify": lambda: client.operations.verify_journal(operations.VerifyJournalRequest()),
        "settings": lambda: client.operations.get_settings(operations.GetSettingsRequest()),
    }


def _reads(client: SubsystemClient, case_id: str, case_no: str) -> Sequence[Call]:
    return (
        lambda: client.cases.get_case(cases.GetCaseRequest(case_id=case_id)),
        lambda: client.cases.get_case_timeline(cases.GetCaseTimelineRequest(case_id=case_id)),
        lambda: client.cases.locate_case(cases.LocateCaseRequest(case_id=case_id)),
        lambda: client.cases.get_case(cases.GetCaseRequest(case_no=case_no)),
        lambda: client.documents.get_document(
            documents.GetDocumentRequest(case_id=case_id, number=f"{case_no or 'X'}-SJ-01")
        ),
    )


def _acts_of_an_organ(organ: DepartmentClient, case_id: str) -> Sequence[Call]:
    said: dict[str, Any] = {"case_id": case_id, "actor": OFFICER}
    step = case_pb2.Step(name="审查", result=case_pb2.Step.RESULT_PASSED)
    step.started_at.GetCurrentTime()
    step.ended_at.CopyFrom(step.started_at)
    denied = department.DecideApplicationRequest.Denied(reasons=["不符合法定条件"], remedies=REMEDIES)
    nobody = department.AcceptApplicationRequest.NoCollaboration(reason="无需其他部门协同")
    defects = [department.Defect(subject="申请表", defect="未签字", required="补签后的申请表")]
    accept = department.AcceptApplicationRequest(**said, none=nobody)
    refuse = department.RefuseAcceptanceRequest(
        **said, reasons=["不属于职权范围"], basis=["第三十二条"], remedies=REMEDIES
    )
    decide = department.DecideApplicationRequest(**said, if_version=3, denied=denied)
    return (
        lambda: organ.accept_application(accept),
        lambda: organ.refuse_acceptance(refuse),
        lambda: organ.request_correction(department.RequestCorrectionRequest(**said, defects=defects)),
        lambda: organ.record_step(department.RecordStepRequest(**said, step=step)),
        lambda: organ.decide_application(decide),
        lambda: organ.close_case(department.CloseCaseRequest(**said)),
    )


def _acts_of_an_applicant(client: IntakeClient, here: Counter, case_id: str) -> Sequence[Call]:
    actor = here.application().actor
    answers = [case_pb2.LineAnswer(line=1, text="已补签")]
    supplement = intake.SupplementApplicationRequest(case_id=case_id, notice_number="X", actor=actor, answers=answers)
    return (
        lambda: client.get_application(intake.GetApplicationRequest(case_id=case_id)),
        lambda: client.supplement_application(supplement),
        lambda: client.request_withdrawal(
            intake.RequestWithdrawalRequest(case_id=case_id, actor=actor, reason="不再需要")
        ),
    )


def _number(mesh: Mesh, subsystem: str, case_id: str) -> str:
    table = {"intake": "stream_application", "governance": "stream_case", "department": "stream_organ_case"}[subsystem]
    ((case_no,),) = mesh.rows(subsystem, f"SELECT case_no FROM {table} WHERE case_id = ?", case_id)  # noqa: S608
    return str(case_no)


async def _reason(call: Awaitable[object]) -> str:
    with pytest.raises(RongheError) as failed:
        await call
    return failed.value.reason
