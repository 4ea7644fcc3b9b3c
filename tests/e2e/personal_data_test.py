import time
from collections.abc import Sequence

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

STEM = "50010319000101773"
NAME, MOBILE, CITIZEN = "标记甲乙丙丁", "19987654321", STEM + ric.calc_check_digit(STEM + "0")
ADDRESS, FIELD, ANSWER = "标记路七十七号", "MARKED-PERSONAL-7731", "MARKED-SUPPLEMENT-7732"
MARKS = (NAME, MOBILE, CITIZEN, ADDRESS, FIELD, ANSWER)


@pytest.fixture
async def case_id(mesh: Mesh, desks: Sequence[Desk]) -> str:
    """A case with marked personal data, corrected with more of it, and ended."""
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
        await _fail_with_marks(here)
    wanted = f"{trace_id(voucher.case_id):032x}"
    await until(lambda: all(wanted in text for text in _span_files(mesh)), "every process has written spans")
    return voucher.case_id


async def test_those_who_handle_a_case_see_its_personal_data(mesh: Mesh, case_id: str) -> None:
    """And so the marks would be found where they should not be."""
    lead = (await case_at(mesh, "intake", case_id)).application.lead.id
    for subsystem, identity in (("department", Identity("organ", lead)), ("intake", Identity("intake", "yukuaiban"))):
        case = await case_at(mesh, subsystem, case_id, identity)
        assert [mark for mark in MARKS if not contains(case, mark)] == []


async def test_personal_data_is_in_no_file_but_journals_and_topic(mesh: Mesh, case_id: str) -> None:
    for path in sorted(mesh.data.rglob("*")):
        name = path.relative_to(mesh.data)
        assert _marks_in(str(name)) == []
        if path.is_file() and name.parts[0] not in ("db", "kafka"):
            assert _marks_in(path.read_bytes()) == [], name


async def test_personal_data_is_in_no_metric(case_id: str, collector: Collector) -> None:
    """Each subsystem has sent those that count this case's calls and events, and its refusals."""
    ended = time.time_ns()
    await until(lambda: _have_sent(collector, ended) == set(SUBSYSTEMS), "every subsystem has sent its metrics")
    sent = [request.SerializeToString() for request in collector.metrics]
    assert any(contains(request, "ronghe.event.v1.CorrectionRequested") for request in sent)
    assert any(contains(request, "FAILED_PRECONDITION") or contains(request, "INVALID_ARGUMENT") for request in sent)
    assert {mark for request in sent for mark in _marks_in(request)} == set()


def _have_sent(collector: Collector, after: int) -> set[str]:
    """Subsystems of whose calls or events the collector has figures from later than this."""
    return {
        next(entry.value.string_value for entry in resource.resource.attributes if entry.key == "service.name")[:-3]
        for request in collector.metrics
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.sum.data_points
        if metric.name == "ronghe.events" and point.time_unix_nano > after
    }


async def test_personal_data_is_in_no_key_and_no_header_of_the_topic(mesh: Mesh, case_id: str) -> None:
    messages = [message for message in read_topic(mesh) if message.key() == case_id.encode()]

    assert {mark for message in messages for mark in _marks_in(message.value() or b"")} == set(MARKS)
    for message in messages:
        assert _marks_in(message.key() or b"") == []
        assert _marks_in("".join(headers(message).values())) == []


async def test_operators_are_shown_no_personal_data(mesh: Mesh, case_id: str) -> None:
    for subsystem in SUBSYSTEMS:
        async with mesh.client(subsystem, OPERATOR) as client:
            shown = [
                await client.cases.get_case(cases.GetCaseRequest(case_id=case_id)),
                *await _summaries(client, case_id),
            ]
        assert [_marks_in(answer.SerializeToString()) for answer in shown] == [[]] * 4


async def test_lists_timelines_and_locations_show_nobody_personal_data(mesh: Mesh, case_id: str) -> None:
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
            assert [_marks_in(answer.SerializeToString()) for answer in answers] == [[]] * 3, (subsystem, str(identity))


async def test_terminals_are_shown_no_personal_data(mesh: Mesh, case_id: str) -> None:
    async with mesh.intake() as terminal:
        shown: list[Message] = [
            await terminal.cases.get_case(cases.GetCaseRequest(case_id=case_id)),
            await terminal.get_application(intake.GetApplicationRequest(case_id=case_id)),
            await terminal.list_applications(intake.ListApplicationsRequest(page_size=500)),
        ]
    assert [_marks_in(answer.SerializeToString()) for answer in shown] == [[]] * 3


def _span_files(mesh: Mesh) -> Sequence[str]:
    """What each process has written."""
    return ["".join(path.read_text() for path in (mesh.data / "spans").glob(f"{name}-01.*")) for name in SUBSYSTEMS]


def _marked(here: Counter) -> intake.SubmitApplicationRequest:
    request = here.application()
    request.personal.applicant.CopyFrom(
        party_pb2.Party(name=NAME, id_type="111", id_number=CITIZEN, mobile=MOBILE, address=ADDRESS)
    )
    for value in request.personal.form:
        value.text = FIELD
    return request


def _personal(desk: Desk, text: str) -> party_pb2.FormValue:
    return party_pb2.FormValue(name=next(field.name for field in desk.item.form if field.personal), text=text)


async def _fail_with_marks(here: Counter) -> None:
    """Requests that are refused for what is personal in them: refusals must not repeat it."""
    wrong_digit, wrong_place, wrong_field = _marked(here), _marked(here), _marked(here)
    wrong_digit.personal.applicant.id_number = STEM + ("1" if CITIZEN[-1] != "1" else "2")
    wrong_digit.personal.applicant.address = CITIZEN
    wrong_place.form.append(_personal(here.desk, FIELD))
    wrong_field.personal.applicant.mobile = f"{MOBILE}0"
    for request in (wrong_digit, wrong_place, wrong_field):
        with pytest.raises(RongheError) as failed:
            await here.terminal.submit_application(request)
        said = [failed.value.message, *map(str, failed.value.violations), *failed.value.metadata.values()]
        assert [_marks_in(text) for text in said] == [[]] * len(said)
        assert STEM not in "".join(said)


async def _summaries(client: SubsystemClient, case_id: str) -> list[Message]:
    return [
        await client.cases.list_cases(cases.ListCasesRequest(page_size=500)),
        await client.cases.get_case_timeline(cases.GetCaseTimelineRequest(case_id=case_id)),
        await client.cases.locate_case(cases.LocateCaseRequest(case_id=case_id)),
    ]


def _marks_in(text: str | bytes) -> list[str]:
    return [mark for mark in MARKS if contains(text, mark)]


async def test_an_auditor_sees_who_read_which_personal_data_and_not_what(mesh: Mesh, case_id: str) -> None:
    lead = Identity("organ", (await case_at(mesh, "intake", case_id)).application.lead.id)
    await case_at(mesh, "department", case_id, lead)
    await case_at(mesh, "department", case_id, OPERATOR)
    async with mesh.client("department", AUDITOR) as auditor:
        found = await auditor.audit.list_accesses(audit.ListAccessesRequest(case_id=case_id, caller=str(lead)))
        others = await auditor.audit.list_accesses(audit.ListAccessesRequest(case_id=case_id, caller=str(OPERATOR)))
    newest = found.accesses[0]
    assert newest.method == "ronghe.case.v1.CaseService/GetCase"
    assert "case.application.personal.applicant.id_number" in newest.fields
    assert not any(contains(found, mark) for mark in MARKS)
    # An operator is shown no personal data, so there is nothing to record.
    assert list(others.accesses) == []
    async with mesh.client("department", OPERATOR) as operator:
        with pytest.raises(RongheError) as refused:
            await operator.audit.list_accesses(audit.ListAccessesRequest())
    assert refused.value.reason == "CALLER_KIND_NOT_ALLOWED"
