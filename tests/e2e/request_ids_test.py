from collections.abc import AsyncIterator, Sequence

import pytest

from clients.base import completed
from clients.demo.plan import Desk
from clients.demo.story import OFFICER
from clients.errors import RongheError
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.intake.v1 import intake_service_pb2 as intake
from tests.e2e.drive import INTAKE, Counter, Mesh, counter


@pytest.fixture
async def here(mesh: Mesh, desks: Sequence[Desk]) -> AsyncIterator[Counter]:
    async with counter(mesh, desks[0]) as opened:
        yield opened


async def test_the_same_request_twice_is_one_case_with_one_voucher(mesh: Mesh, here: Counter) -> None:
    request = here.application()

    first = await here.terminal.submit_application(request)

    assert await here.terminal.submit_application(request) == first
    assert mesh.recorded("intake", first.case_id) == ["Submitted"]
    assert _cases_with(mesh, request) == 1


async def test_a_request_id_with_another_body_is_refused(mesh: Mesh, here: Counter) -> None:
    request = here.application()
    await here.terminal.submit_application(request)

    request.summary = "另一件事"
    with pytest.raises(RongheError) as failed:
        await here.terminal.submit_application(request)

    assert failed.value.reason == "REQUEST_ID_REUSED"
    assert _cases_with(mesh, request) == 1


async def test_unary_and_bulk_share_their_request_ids(mesh: Mesh, here: Counter) -> None:
    unary, bulk = here.application(), here.application()
    vouchers = {unary.request_id: await here.terminal.submit_application(unary)}

    answers = {
        answer.request.request_id: answer.result()
        async for answer in here.terminal.submit_many([unary, bulk])
    }  # fmt: skip

    assert answers[unary.request_id] == vouchers[unary.request_id]
    assert await here.terminal.submit_application(bulk) == answers[bulk.request_id]
    bulk.summary = "另一件事"
    (answer,) = [answer async for answer in here.terminal.submit_many([bulk])]
    assert answer.error is not None
    assert answer.error.reason == "REQUEST_ID_REUSED"
    assert _cases_with(mesh, unary) == _cases_with(mesh, bulk) == 1


async def test_request_ids_of_different_callers_have_nothing_to_do_with_each_other(mesh: Mesh, here: Counter) -> None:
    request = here.application()
    first = await here.terminal.submit_application(request)

    async with mesh.intake(INTAKE) as other:
        second = await other.submit_application(request)

    assert first.case_id != second.case_id


async def test_an_organs_command_has_one_effect_in_unary_and_bulk(mesh: Mesh, here: Counter) -> None:
    case_id = (await here.submit()).case_id
    await here.delivered(case_id)
    request = completed(
        department.AcceptApplicationRequest(
            case_id=case_id,
            actor=OFFICER,
            none=department.AcceptApplicationRequest.NoCollaboration(reason="无需其他部门协同"),
        )
    )

    first = await here.organ.accept_application(request)
    (again,) = [answer async for answer in here.organ.execute_many([request])]

    assert again.result() == first
    assert mesh.recorded("department", case_id) == ["Submitted", "Accepted"]


async def test_a_refused_command_leaves_no_trace_and_its_id_free(mesh: Mesh, here: Counter) -> None:
    case_id = (await here.submit()).case_id
    await here.delivered(case_id)
    request = completed(department.CloseCaseRequest(case_id=case_id, actor=OFFICER))

    with pytest.raises(RongheError) as failed:
        await here.organ.close_case(request)

    assert failed.value.reason == "ILLEGAL_STATE"
    assert (await here.organ.cases.get_case(cases.GetCaseRequest(case_id=case_id))).case.version == 1
    requests = mesh.rows("department", "SELECT key FROM request WHERE key LIKE ?", f"{request.request_id[:13]}%")
    assert requests == []


def _cases_with(mesh: Mesh, request: intake.SubmitApplicationRequest) -> int:
    """Cases whose number at the existing system is this one, which stands in their states' bytes."""
    rows = mesh.rows("intake", "SELECT snapshot FROM stream_application")
    return sum(request.external_no.encode() in snapshot for (snapshot,) in rows)
