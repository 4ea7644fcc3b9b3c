import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from clients.demo.plan import Desk
from clients.errors import RongheError
from clients.intake import IntakeClient
from ronghe.intake.v1 import intake_service_pb2 as intake
from tests.e2e.conftest import STRANGERS
from tests.e2e.drive import Counter, Mesh, counter

UNKNOWN = "5001060103XKDN20200101010000000001"
GUESSES = 5


@pytest.fixture
async def here(mesh: Mesh, desks: Sequence[Desk]) -> AsyncIterator[Counter]:
    async with counter(mesh, desks[0]) as opened:
        yield opened


async def test_number_and_code_of_a_voucher_open_the_case_without_personal_data(here: Counter) -> None:
    voucher = await here.submit()

    for code in (voucher.query_code, voucher.query_code.lower()):
        request = intake.GetApplicationByQueryCodeRequest(case_no=voucher.case_no, query_code=code)
        case = (await here.terminal.get_application_by_query_code(request)).case
        assert case.case_id == voucher.case_id
        assert not case.application.personal.ListFields()


async def test_a_wrong_code_and_an_unknown_case_answer_alike_until_both_are_locked(here: Counter) -> None:
    voucher = await here.submit()

    wrong = [await _failure(here.terminal, voucher.case_no, f"WRONG{number}") for number in range(GUESSES + 1)]
    unknown = [await _failure(here.terminal, f"{UNKNOWN[:-3]}777", f"WRONG{number}") for number in range(GUESSES + 1)]

    assert wrong == unknown
    assert [reason for reason, _ in wrong] == [*["QUERY_CODE_WRONG"] * GUESSES, "QUERY_CODE_LOCKED"]
    assert (await _failure(here.terminal, voucher.case_no, voucher.query_code))[0] == "QUERY_CODE_LOCKED"


async def test_a_right_code_makes_up_for_the_wrong_ones_before_it(here: Counter) -> None:
    voucher = await here.submit()
    right = intake.GetApplicationByQueryCodeRequest(case_no=voucher.case_no, query_code=voucher.query_code)

    for number in range(GUESSES - 1):
        await _failure(here.terminal, voucher.case_no, f"WRONG{number}")
    await here.terminal.get_application_by_query_code(right)
    wrong = [await _failure(here.terminal, voucher.case_no, f"AGAIN{number}") for number in range(GUESSES + 1)]

    assert [reason for reason, _ in wrong] == [*["QUERY_CODE_WRONG"] * GUESSES, "QUERY_CODE_LOCKED"]


async def test_guesses_at_once_are_counted_like_guesses_one_by_one(here: Counter) -> None:
    voucher = await here.submit()

    failures = await asyncio.gather(
        *(_failure(here.terminal, voucher.case_no, f"WRONG{number}") for number in range(8 * GUESSES))
    )

    assert [reason for reason, _ in failures].count("QUERY_CODE_WRONG") == GUESSES


async def test_the_right_code_at_another_intake_system_opens_nothing(mesh: Mesh, here: Counter) -> None:
    voucher = await here.submit()

    for stranger in STRANGERS:
        async with mesh.intake(stranger) as elsewhere:
            assert (await _failure(elsewhere, voucher.case_no, voucher.query_code))[0] == "QUERY_CODE_WRONG"


async def test_an_intake_system_cannot_lock_the_numbers_of_another(mesh: Mesh, here: Counter) -> None:
    voucher = await here.submit()

    async with mesh.intake(STRANGERS[0]) as elsewhere:
        for number in range(GUESSES + 1):
            await _failure(elsewhere, voucher.case_no, f"WRONG{number}")

    request = intake.GetApplicationByQueryCodeRequest(case_no=voucher.case_no, query_code=voucher.query_code)
    assert (await here.terminal.get_application_by_query_code(request)).case.case_id == voucher.case_id


async def _failure(client: IntakeClient, case_no: str, code: str) -> tuple[str, str]:
    with pytest.raises(RongheError) as failed:
        await client.get_application_by_query_code(
            intake.GetApplicationByQueryCodeRequest(case_no=case_no, query_code=code)
        )
    return failed.value.reason, failed.value.message
