import time
from collections.abc import Awaitable, Sequence

import pytest
from google.protobuf.message import Message
from stdnum.cn import ric

from clients.demo.plan import Desk
from clients.errors import RongheError
from clients.identity import Identity
from clients.subsystem import SubsystemClient
from clients.telemetry import trace_id
from ronghe.audit.v1 import audit_service_pb2 as audit
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.document.v1 import document_service_pb2 as documents
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.party.v1 import party_pb2
from tests.collector import Collector
from tests.e2e.drive import (
    AUDITOR,
    OPERATOR,
    SUBSYSTEMS,
    TERMINAL,
    Counter,
    Mesh,
    case_at,
    contains,
    counter,
    until,
)
from tests.e2e.topic import headers, read_topic

STEM, STEM_OF_AGENT = "50010319000101773", "50010319000101774"
NAME, MOBILE, CITIZEN = "标记甲乙丙丁", "19987654321", STEM + ric.calc_check_digit(STEM + "0")
ADDRESS, FIELD, ANSWER = "标记路七十七号", "MARKED-PERSONAL-7731", "MARKED-SUPPLEMENT-7732"
APPLICANT = party_pb2.Party(name=NAME, id_type="111", id_number=CITIZEN, mobile=MOBILE, address=ADDRESS)
AGENT = party_pb2.Party(
    name="标记戊己庚辛",
    id_type="111",
    id_number=STEM_OF_AGENT + ric.calc_check_digit(STEM_OF_AGENT + "0"),
    mobile="19987654322",
    address="标记路七十八号",
)
REPRESENTATIVE = "标记壬癸子丑"
OF_AGENT = (AGENT.name, AGENT.id_number, AGENT.mobile, AGENT.address)
MARKS = (NAME, MOBILE, CITIZEN, ADDRESS, FIELD, ANSWER, *OF_AGENT, REPRESENTATIVE)


@pytest.fixture
async def voucher(mesh: Mesh, desks: Sequence[Desk]) -> intake.SubmitApplicationResponse:
    """Of a case with marked personal data, corrected with more of it, looked up by its query code, and ended."""
    desk = next(desk for desk in desks if any(field.personal and field.required for field in desk.item.form))
    async with counter(mesh, desk) as here:
        voucher = await here.terminal.submit_application(_marked(here))
        await here.delivered(voucher.case_id)
        notice = (await here.correct(voucher.case_id)).notice
        await here.noticed(voucher.case_id, notice.number)
        answers = party_pb2.PersonalSupplement(form=[_personal(desk, ANSWER)])
        await here.supplement(voucher.case_id, notice.number, personal=answers)
        await here.supplemented(voucher.case_id)
        await here.accept(voucher.case_id)
        await here.deny(voucher.case_id)
        await here.at_intake(voucher.case_id, case_pb2.STATE_CLOSED)
        await _look_up(here, voucher)
        await _fail_with_marks(here, voucher)
    wanted = f"{trace_id(voucher.case_id):032x}"
    await until(lambda: all(wanted in text for text in _span_files(mesh)), "every process has written spans")
    return voucher


@pytest.fixture
def case_id(voucher: intake.SubmitApplicationResponse) -> str:
    return voucher.case_id


@pytest.fixture
def secrets(voucher: intake.SubmitApplicationResponse) -> Sequence[str]:
    """The marks, and what opens the case to whoever knows it."""
    return (*MARKS, voucher.query_code)


async def test_those_who_handle_a_case_see_its_personal_data(mesh: Mesh, case_id: str) -> None:
    """And so the marks would be found where they should not be."""
    lead = (await case_at(mesh, "intake", case_id)).application.lead.id
    for subsystem, identity in (("department", Identity("organ", lead)), ("intake", Identity("intake", "yukuaiban"))):
        case = await case_at(mesh, subsystem, case_id, identity)
        assert [mark for mark in MARKS if not contains(case, mark)] == []


async def test_personal_data_is_in_no_file_but_journals_and_topic(
    mesh: Mesh, voucher: intake.SubmitApplicationResponse, secrets: Sequence[str]
) -> None:
    """A query code is not even there: no database has it."""
    for path in sorted(mesh.data.rglob("*")):
        name = path.relative_to(mesh.data)
        assert _marks_in(str(name), secrets) == []
        if path.is_file() and name.parts[0] != "kafka":
            unwanted = (voucher.query_code,) if name.parts[0] == "db" else secrets
            assert _marks_in(path.read_bytes(), unwanted) == [], name


async def test_personal_data_is_in_no_metric(secrets: Sequence[str], collector: Collector) -> None:
    """Each subsystem has sent those that count this case's calls and events, and its refusals."""
    ended = time.time_ns()
    await until(lambda: _have_sent(collector, ended) == set(SUBSYSTEMS), "every subsystem has sent its metrics")
    sent = [request.SerializeToString() for request in collector.metrics]
    assert any(contains(request, "ronghe.event.v1.CorrectionRequested") for request in sent)
    assert any(contains(request, "FAILED_PRECONDITION") or contains(request, "INVALID_ARGUMENT") for request in sent)
    assert {mark for request in sent for mark in _marks_in(request, secrets)} == set()


def _have_sent(collector: Collector, after: int) -> set[str]:
    """Subsystems of whose commits the collector has later figures: the center says nothing of its own."""
    return {
        next(entry.value.string_value for entry in resource.resource.attributes if entry.key == "service.name")[:-3]
        for request in collector.metrics
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.histogram.data_points
        if metric.name == "ronghe.commit.units" and point.time_unix_nano > after
    }


async def test_personal_data_is_in_no_key_and_no_header_of_the_topic(
    mesh: Mesh, case_id: str, secrets: Sequence[str]
) -> None:
    messages = [message for message in read_topic(mesh) if message.key() == case_id.encode()]

    assert {mark for message in messages for mark in _marks_in(message.value() or b"", secrets)} == set(MARKS)
    for message in messages:
        assert _marks_in(message.key() or b"", secrets) == []
        assert _marks_in("".join(headers(message).values()), secrets) == []


async def test_operators_are_shown_no_personal_data(mesh: Mesh, case_id: str, secrets: Sequence[str]) -> None:
    for subsystem in SUBSYSTEMS:
        async with mesh.client(subsystem, OPERATOR) as client:
            shown = [
                await client.cases.get_case(cases.GetCaseRequest(case_id=case_id)),
                *await _summaries(client, case_id),
            ]
        assert [_marks_in(answer.SerializeToString(), secrets) for answer in shown] == [[]] * 4


async def test_lists_timelines_and_locations_show_nobody_personal_data(
    mesh: Mesh, case_id: str, secrets: Sequence[str]
) -> None:
    lead = (await case_at(mesh, "intake", case_id)).application.lead.id
    for subsystem in SUBSYSTEMS:
        for identity in (
            TERMINAL,
            Identity("intake", "yukuaiban"),
            Identity("organ", lead),
            Identity("auditor", "local"),
        ):
            async with mesh.client(subsystem, identity) as client:
                answers = await _summaries(client, case_id)
            found = [_marks_in(answer.SerializeToString(), secrets) for answer in answers]
            assert found == [[]] * 3, (subsystem, str(identity))


async def test_terminals_are_shown_no_personal_data(mesh: Mesh, case_id: str, secrets: Sequence[str]) -> None:
    async with mesh.intake() as terminal:
        shown: list[Message] = [
            await terminal.cases.get_case(cases.GetCaseRequest(case_id=case_id)),
            await terminal.get_application(intake.GetApplicationRequest(case_id=case_id)),
            await terminal.list_applications(intake.ListApplicationsRequest(page_size=500)),
        ]
    assert [_marks_in(answer.SerializeToString(), secrets) for answer in shown] == [[]] * 3


async def test_a_terminal_is_shown_the_addressee_of_a_paper_and_nothing_else_that_is_personal(
    mesh: Mesh, voucher: intake.SubmitApplicationResponse, secrets: Sequence[str]
) -> None:
    request = documents.GetDocumentRequest(case_id=voucher.case_id, number=voucher.voucher.number)
    async with mesh.intake() as terminal:
        shown = await terminal.documents.get_document(request)
    assert _marks_in(shown.SerializeToString(), secrets) == [NAME]
    assert NAME in shown.text


def _span_files(mesh: Mesh) -> Sequence[str]:
    """What each process has written."""
    return ["".join(path.read_text() for path in (mesh.data / "spans").glob(f"{name}-01.*")) for name in SUBSYSTEMS]


def _marked(here: Counter) -> intake.SubmitApplicationRequest:
    request = here.application()
    request.personal.applicant.CopyFrom(APPLICANT)
    request.personal.agent.CopyFrom(AGENT)
    request.personal.legal_representative = REPRESENTATIVE
    for value in request.personal.form:
        value.text = FIELD
    return request


def _personal(desk: Desk, text: str) -> party_pb2.FormValue:
    return party_pb2.FormValue(name=next(field.name for field in desk.item.form if field.personal), text=text)


def _lookup(case_no: str, query_code: str) -> intake.GetApplicationByQueryCodeRequest:
    return intake.GetApplicationByQueryCodeRequest(case_no=case_no, query_code=query_code)


async def _look_up(here: Counter, voucher: intake.SubmitApplicationResponse) -> None:
    shown = await here.terminal.get_application_by_query_code(_lookup(voucher.case_no, voucher.query_code))
    assert _marks_in(shown.SerializeToString(), (*MARKS, voucher.query_code)) == []


async def _fail_with_marks(here: Counter, voucher: intake.SubmitApplicationResponse) -> None:
    """Requests that are refused for what is personal or secret in them: refusals must not repeat it."""
    wrong_digit, wrong_place, wrong_field = _marked(here), _marked(here), _marked(here)
    wrong_agent, wrong_representative = _marked(here), _marked(here)
    wrong_digit.personal.applicant.id_number = STEM + ("1" if CITIZEN[-1] != "1" else "2")
    wrong_digit.personal.applicant.address = CITIZEN
    wrong_place.form.append(_personal(here.desk, FIELD))
    wrong_field.personal.applicant.mobile = f"{MOBILE}0"
    wrong_agent.personal.agent.id_number = STEM_OF_AGENT + ("1" if AGENT.id_number[-1] != "1" else "2")
    wrong_representative.personal.legal_representative = REPRESENTATIVE * 20
    unwanted = (*MARKS, voucher.query_code, STEM, STEM_OF_AGENT)
    for request in (wrong_digit, wrong_place, wrong_field, wrong_agent, wrong_representative):
        await _fails_without(unwanted, here.terminal.submit_application(request))
    # A number that there is not, and a code that is longer than any.
    for lookup in (_lookup(voucher.case_id, voucher.query_code), _lookup(voucher.case_no, voucher.query_code * 7)):
        await _fails_without(unwanted, here.terminal.get_application_by_query_code(lookup))


async def _fails_without(marks: Sequence[str], call: Awaitable[Message]) -> None:
    with pytest.raises(RongheError) as failed:
        await call
    said = [failed.value.message, *map(str, failed.value.violations), *failed.value.metadata.values()]
    assert [_marks_in(text, marks) for text in said] == [[]] * len(said)


async def _summaries(client: SubsystemClient, case_id: str) -> list[Message]:
    return [
        await client.cases.list_cases(cases.ListCasesRequest(page_size=500)),
        await client.cases.get_case_timeline(cases.GetCaseTimelineRequest(case_id=case_id)),
        await client.cases.locate_case(cases.LocateCaseRequest(case_id=case_id)),
    ]


def _marks_in(text: str | bytes, marks: Sequence[str]) -> list[str]:
    return [mark for mark in marks if contains(text, mark)]


async def test_an_auditor_sees_who_read_which_personal_data_and_not_what(
    mesh: Mesh, case_id: str, secrets: Sequence[str]
) -> None:
    lead = Identity("organ", (await case_at(mesh, "intake", case_id)).application.lead.id)
    await case_at(mesh, "department", case_id, lead)
    await case_at(mesh, "department", case_id, OPERATOR)
    async with mesh.client("department", AUDITOR) as auditor:
        found = await auditor.audit.list_accesses(audit.ListAccessesRequest(case_id=case_id, caller=str(lead)))
        others = await auditor.audit.list_accesses(audit.ListAccessesRequest(case_id=case_id, caller=str(OPERATOR)))
    newest = found.accesses[0]
    assert newest.method == "ronghe.case.v1.CaseService/GetCase"
    assert "case.application.personal.applicant.id_number" in newest.fields
    assert _marks_in(found.SerializeToString(), secrets) == []
    # An operator is shown no personal data, so there is nothing to record.
    assert list(others.accesses) == []
    async with mesh.client("department", OPERATOR) as operator:
        with pytest.raises(RongheError) as refused:
            await operator.audit.list_accesses(audit.ListAccessesRequest())
    assert refused.value.reason == "CALLER_KIND_NOT_ALLOWED"
