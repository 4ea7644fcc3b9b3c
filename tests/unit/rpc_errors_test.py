"""Errors on the wire: the table, the details, and what never gets out."""

import time
from typing import Any

import pytest
import structlog
from google.rpc import error_details_pb2
from grpc import StatusCode

from bridge.ports import StoreUnavailable
from clients.errors import InvalidRequest, NotFound, Overloaded, Refused, RongheError, error_of_status
from clients.render import render
from ronghe.catalog.v1.catalog_pb2 import Division
from ronghe.catalog.v1.catalog_service_pb2 import ListDivisionsRequest, ListOrgansRequest
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1.event_pb2 import Event, Submitted
from servers.kernel.stream import FieldViolation
from servers.kernel.stream import Refused as Refusal
from servers.rpc.errors import MAX_VIOLATIONS, RETRIED, TABLE, to_status, trailing_metadata
from servers.rpc.paging import LIFETIME, Pages, page_of
from servers.rpc.validation import validate
from tests.unit.rpc_support import application

METHOD = "ronghe.intake.v1.IntakeService/SubmitApplication"


def pushback(refusal: Refusal) -> str | bytes | None:
    return dict(trailing_metadata(refusal)).get("grpc-retry-pushback-ms")


def test_every_reason_has_a_row() -> None:
    assert set(TABLE) == set(Reason.values())


def test_every_reason_fits_the_code_its_contract_names() -> None:
    assert TABLE[Reason.REASON_ILLEGAL_STATE].code is StatusCode.FAILED_PRECONDITION
    assert TABLE[Reason.REASON_CASE_CHANGED].code is StatusCode.ABORTED
    assert TABLE[Reason.REASON_BUG].code is StatusCode.INTERNAL
    assert all(row.code in RETRIED for row in TABLE.values() if row.retry_after is not None)


def test_a_refusal_arrives_as_the_exception_of_its_code() -> None:
    refusal = Refusal(Reason.REASON_ILLEGAL_STATE, "already decided", {"state": "DECIDED"})
    error = error_of_status(to_status(refusal, METHOD))
    assert isinstance(error, Refused)
    assert (error.reason, error.message, error.metadata) == ("ILLEGAL_STATE", "already decided", {"state": "DECIDED"})


def test_the_domain_of_every_error_is_ronghe() -> None:
    info = error_details_pb2.ErrorInfo()
    assert to_status(Refusal(Reason.REASON_CASE_NOT_FOUND, "no such case"), METHOD).details[0].Unpack(info)
    assert info.domain == "ronghe"


def test_overload_says_when_to_come_back() -> None:
    refusal = Refusal(Reason.REASON_OVERLOADED, "too much")
    error = error_of_status(to_status(refusal, METHOD))
    assert isinstance(error, Overloaded)
    assert error.retry_after == pytest.approx(0.2)
    assert pushback(refusal) == "200"


def test_what_is_too_large_is_not_worth_a_retry() -> None:
    refusal = Refusal(Reason.REASON_TOO_LARGE, "too large")
    assert error_of_status(to_status(refusal, METHOD)).retry_after is None
    assert pushback(refusal) == "-1"


def test_a_refusal_that_nobody_retries_carries_no_push_back() -> None:
    assert pushback(Refusal(Reason.REASON_CASE_NOT_FOUND, "no such case")) is None


def test_a_database_that_does_not_answer_is_unavailable() -> None:
    assert error_of_status(to_status(StoreUnavailable("down"), METHOD)).reason == "STORE_UNAVAILABLE"


def test_a_bug_gives_an_id_and_nothing_else_away() -> None:
    with structlog.testing.capture_logs() as logs:
        status = to_status(ValueError("id number 500103199001011234"), METHOD)
    error = error_of_status(status)
    assert type(error) is RongheError
    assert error.metadata["error_id"] == logs[0]["error_id"]
    assert logs[0]["error"] == "ValueError"
    assert "5001031990" not in str(logs) + str(status)


def test_a_status_with_many_violations_stays_small() -> None:
    violations = [FieldViolation(f"form[{index}].name", "does not match" * 10) for index in range(100)]
    status = to_status(Refusal(Reason.REASON_INVALID_FORM, "100 fields are wrong", violations=violations), METHOD)
    assert len(error_of_status(status).violations) == MAX_VIOLATIONS
    assert status.ByteSize() < 8192


def test_a_violation_names_the_field_and_the_rule_but_not_the_value() -> None:
    request = application()
    request.personal.applicant.mobile = "13800138000x"
    with pytest.raises(Refusal) as caught:
        validate(request)
    error = error_of_status(to_status(caught.value, METHOD))
    assert isinstance(error, InvalidRequest)
    assert [violation.field for violation in error.violations] == [
        "request_id",
        "occurred_at",
        "personal.applicant.mobile",
    ]
    assert "regex" in error.violations[2].description
    assert "13800138000" not in str(error) + str(error.violations)


def test_a_violation_in_a_list_names_the_place() -> None:
    with pytest.raises(Refusal) as caught:
        validate(application(form=[{"name": "width", "number": 2}, {"name": "Bad name", "number": 1}]))
    assert "form[1].name" in [violation.field for violation in caught.value.violations]


# --- page tokens ---


def a_division(code: str) -> Division:
    return Division(code=code)


def pages(now: float = 0) -> Pages:
    return Pages(b"a deployment's key", lambda: time.time() + now)


def test_a_page_token_goes_on_behind_its_row() -> None:
    token = pages().seal(ListDivisionsRequest(parent="500000"), "500103")
    assert pages().open(ListDivisionsRequest(parent="500000", page_token=token, page_size=7)) == "500103"


@pytest.mark.parametrize(
    "request_with",
    [
        lambda token: ListDivisionsRequest(parent="510000", page_token=token),
        lambda token: ListOrgansRequest(page_token=token),
        lambda token: ListDivisionsRequest(parent="500000", page_token=token[:-2] + "AA"),
        lambda token: ListDivisionsRequest(parent="500000", page_token=token[:8]),
        lambda token: ListDivisionsRequest(parent="500000", page_token=f"?{token}"),
    ],
    ids=["another filter", "another list", "altered", "too short", "no base64"],
)
def test_a_page_token_serves_only_its_own_list(request_with: Any) -> None:
    token = pages().seal(ListDivisionsRequest(parent="500000"), "500103")
    with pytest.raises(Refusal) as caught:
        pages().open(request_with(token))
    assert caught.value.reason == Reason.REASON_INVALID_PAGE_TOKEN


def test_a_page_token_expires_after_a_day() -> None:
    token = pages(now=-LIFETIME - 1).seal(ListDivisionsRequest(), "500103")
    with pytest.raises(Refusal):
        pages().open(ListDivisionsRequest(page_token=token))


async def test_pages_follow_each_other_until_the_last() -> None:
    codes = [f"{number:06}" for number in range(7)]

    async def rows_after(after: str, limit: int) -> list[str]:
        return [code for code in codes if code > after][:limit]

    request, count = ListDivisionsRequest(page_size=3), 0
    seen: list[str] = []
    while count == 0 or request.page_token:
        page = await page_of(pages(), request, rows_after, str, a_division)
        seen += [division.code for division in page.rows]
        request.page_token = page.next_token
        count += 1
    assert (seen, count) == (codes, 3)


@pytest.mark.parametrize(("wanted", "given"), [(0, 50), (7, 7), (500, 500), (501, 500), (2**31 - 1, 500)])
async def test_a_page_is_as_large_as_wanted_and_no_larger_than_allowed(wanted: int, given: int) -> None:
    async def rows_after(after: str, limit: int) -> list[str]:
        return [f"{number:06}" for number in range(limit)]

    page = await page_of(pages(), ListDivisionsRequest(page_size=wanted), rows_after, str, a_division)

    assert len(page.rows) == given
    assert page.next_token


@pytest.mark.parametrize(("kilobytes", "given"), [(1, 500), (100, 11), (300, 4), (2000, 1)])
async def test_a_page_is_a_message_that_every_client_takes(kilobytes: int, given: int) -> None:
    rows = [f"{number:06}" for number in range(1000)]

    async def rows_after(after: str, limit: int) -> list[str]:
        return [row for row in rows if row > after][:limit]

    def shown(row: str) -> Division:
        return Division(code=row, name="x" * 1000 * kilobytes)

    request = ListDivisionsRequest(page_size=500)
    page = await page_of(pages(), request, rows_after, str, shown)
    assert [division.code for division in page.rows] == rows[:given]
    assert kilobytes > 1000 or sum(division.ByteSize() for division in page.rows) < 4 << 20
    request.page_token = page.next_token
    following = await page_of(pages(), request, rows_after, str, shown)
    assert following.rows[0].code == rows[given]


# --- rendering ---


def test_rendering_leaves_personal_data_out() -> None:
    shown = render(application(summary="窗口办理"))
    assert "窗口办理" in shown
    assert "王小明" not in shown
    assert "11010519491231002X" not in shown


def test_rendering_looks_into_a_packed_fact() -> None:
    fact = Submitted()
    fact.application.personal.CopyFrom(application().personal)
    fact.application.case_no = "5001"
    event = Event(id="1")
    event.fact.Pack(fact)
    shown = render(event)
    assert "5001" in shown
    assert "王小明" not in shown


def test_rendering_shows_only_the_type_of_what_it_does_not_know() -> None:
    event = Event(id="1")
    event.fact.type_url = "type.googleapis.com/ronghe.event.v9.Unknown"
    event.fact.value = application().SerializeToString()
    assert "王小明" not in render(event)
    assert "ronghe.event.v9.Unknown" in render(event)


def test_a_missing_record_is_not_found() -> None:
    assert isinstance(error_of_status(to_status(Refusal(Reason.REASON_ITEM_NOT_FOUND, "no"), METHOD)), NotFound)
