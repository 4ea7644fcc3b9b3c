"""Bytes that are no request, methods that nobody offers, and a bad item among good ones."""

from collections.abc import Callable
from typing import Any

import pytest
from grpc import StatusCode

from ronghe.case.v1 import case_service_pb2 as cases
from tests import builders
from tests.e2e.bad_input import FIELD, INVALID
from tests.e2e.collaborating import now
from tests.e2e.door import SUBMIT, Records, at_rest, knocking, refused
from tests.e2e.drive import TERMINAL, Mesh


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(
            lambda body: body.replace("张三".encode(), b"\xff\xfe\xfd\xff\xfe\xfd"), id="a string that is no UTF-8"
        ),
        pytest.param(lambda body: body[:-1], id="a message that ends too soon"),
        pytest.param(lambda body: b"\xff" * 64, id="bytes without meaning"),
        pytest.param(lambda body: b"\x0a\xff\xff\xff\xff\x0f" + body, id="a length of four gigabytes"),
        pytest.param(lambda body: b"\x0b" * 5000, id="groups within groups within groups"),
    ],
)
async def test_bytes_that_are_no_message(mesh: Mesh, records: Records, damage: Callable[[bytes], bytes]) -> None:
    body = damage(builders.submission(now()).SerializeToString())
    async with knocking(mesh, "intake", TERMINAL) as door:
        error = await refused(mesh, lambda: door.unary(SUBMIT, body))
    assert (error.code, error.reason) == (INVALID, FIELD)
    assert "encode it by the contract, with every string in UTF-8" in error.message


async def test_a_method_that_nobody_offers(mesh: Mesh, records: Records) -> None:
    async with knocking(mesh, "intake", TERMINAL) as door:
        for method in ("ronghe.intake.v1.IntakeService/BribeOfficer", "x/y"):
            error = await refused(mesh, lambda: door.unary(method, b""))  # noqa: B023
            assert (error.code, error.reason) == (StatusCode.UNIMPLEMENTED, "METHOD_NOT_OFFERED")
            assert method in error.message


@pytest.mark.parametrize("traceparent", ["", "x", "00-0-0-00", f"00-{'0' * 32}-{'0' * 16}-01", "张" * 50, "0" * 4000])
async def test_a_trace_context_that_is_none_is_passed_over(mesh: Mesh, records: Records, traceparent: str) -> None:
    request = cases.GetCaseRequest(case_id=records.submitted)
    async with knocking(mesh, "intake", TERMINAL) as door:
        said = traceparent.encode().decode("ascii", "replace").replace("\ufffd", "?")
        answer = await door.unary(
            "ronghe.case.v1.CaseService/GetCase", request.SerializeToString(), metadata=(("traceparent", said),)
        )
    assert cases.GetCaseResponse.FromString(answer).case.case_id == records.submitted


# --- an item of a bulk call ---


async def test_a_bad_item_of_a_bulk_call_is_answered_and_the_others_go_on(mesh: Mesh, records: Records) -> None:
    *bad, good = (builders.submission(now()) for _ in range(4))
    bad[0].item_code, bad[1].item_code, bad[2].item_code = "", "IT-999", "\0"
    async with mesh.intake() as terminal:
        answers = {answer.request.request_id: answer async for answer in terminal.submit_many([*bad, good])}
    assert [_said(answers[one.request_id]) for one in bad] == [FIELD, "ITEM_NOT_FOUND", FIELD]
    assert answers[good.request_id].result().case_id
    await at_rest(mesh)


def _said(answer: Any) -> str:
    return str(answer.error.reason)
