from collections.abc import Callable
from typing import Any

import pytest

from ronghe.inbox.v1.inbox_service_pb2 import AckInboxRequest, Nack
from ronghe.party.v1.party_pb2 import FormValue
from servers.rpc.wellformed import malformed
from tests import builders
from tests.machines import START


def wrong(touch: Callable[[Any], object]) -> list[str]:
    """The places at fault in an application that was touched."""
    request = builders.submission(START)
    touch(request)
    return [violation.field for violation in malformed(request)]


def test_a_plain_request_is_well_formed() -> None:
    assert wrong(lambda request: None) == []


@pytest.mark.parametrize("text", ["两行\n文字", "a\tb", "\r\n", "😀", "é\u0301", "\u00a0"])
def test_text_of_every_script_and_its_line_breaks_are_well_formed(text: str) -> None:
    assert wrong(lambda request: setattr(request, "summary", text)) == []


@pytest.mark.parametrize("text", ["\0", "a\x1b[0m", "\x7f", "\x85", "\x08"])
def test_a_control_character_is_found_wherever_it_stands(text: str) -> None:
    assert wrong(lambda request: setattr(request, "summary", text)) == ["summary"]
    assert wrong(lambda request: setattr(request.personal.applicant, "name", text)) == ["personal.applicant.name"]
    assert wrong(lambda request: setattr(request.materials[1], "code", text)) == ["materials[1].code"]


def test_every_place_at_fault_is_named() -> None:
    def touch(request: Any) -> None:
        request.summary, request.external_no, request.occurred_at.nanos = "\0", "\0", -1

    assert wrong(touch) == ["occurred_at", "external_no", "summary"]


@pytest.mark.parametrize(
    ("year", "month", "day"), [(0, 0, 0), (2026, 2, 29), (2026, 13, 1), (-1, 1, 1), (10_000, 1, 1)]
)
def test_a_day_that_no_calendar_has_is_found(year: int, month: int, day: int) -> None:
    value = FormValue(name="from_day")
    value.date.year, value.date.month, value.date.day = year, month, day
    value.date.SetInParent()
    assert wrong(lambda request: request.form.append(value)) == ["form[4].date"]


@pytest.mark.parametrize(("seconds", "nanos", "is_one"), [
    (253_402_300_799, 999_999_999, True), (253_402_300_800, 0, False), (-62_135_596_800, 0, True),
    (-62_135_596_801, 0, False), (0, -1, False), (0, 1_000_000_000, False),
])  # fmt: skip
def test_a_moment_lies_in_the_years_1_to_9999(seconds: int, nanos: int, is_one: bool) -> None:
    def touch(request: Any) -> None:
        request.occurred_at.seconds, request.occurred_at.nanos = seconds, nanos

    assert (wrong(touch) == []) is is_one


@pytest.mark.parametrize(("seconds", "nanos", "is_one"), [
    (3600, 0, True), (-1, -1, True), (0, -1, True), (1, -1, False), (315_576_000_001, 0, False),
])  # fmt: skip
def test_a_duration_has_one_sign(seconds: int, nanos: int, is_one: bool) -> None:
    nack = Nack(sequence=1)
    nack.delay.seconds, nack.delay.nanos = seconds, nanos
    found = [violation.field for violation in malformed(AckInboxRequest(nacks=[nack]))]
    assert found == ([] if is_one else ["nacks[0].delay"])
