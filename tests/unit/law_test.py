from datetime import date

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from ronghe.case.v1.case_pb2 import Pause
from ronghe.catalog.v1.catalog_pb2 import Limit
from ronghe.document.v1.document_pb2 import DueDate
from servers.law.calendar import Calendar
from servers.law.clock import due_date
from servers.law.days import legal_date, to_date, to_message

CALENDAR = Calendar.load()
days_of_2026 = st.dates(date(2026, 1, 1), date(2026, 11, 1))


def due(
    start: date, value: int, unit: "Limit.Unit.ValueType" = Limit.UNIT_WORKING_DAY, pauses: tuple[Pause, ...] = ()
) -> DueDate:
    return due_date(to_message(start), Limit(value=value, unit=unit), pauses, CALENDAR)


def pause(first: date, last: date | None = None) -> Pause:
    made = Pause(to=to_message(last) if last else None)
    getattr(made, "from").CopyFrom(to_message(first))
    return made


@pytest.mark.parametrize(
    ("start", "days", "last"),
    [
        (date(2026, 11, 23), 5, date(2026, 11, 30)),  # Monday: Tuesday is day 1, the weekend is not counted
        (date(2026, 2, 13), 5, date(2026, 2, 27)),  # 14 is worked, 15-23 is Spring Festival, 24-27 are days 2-5
        (date(2026, 2, 13), 6, date(2026, 2, 28)),  # a Saturday that is worked
        (date(2026, 9, 30), 2, date(2026, 10, 9)),  # 1-7 October off
        (date(2026, 9, 30), 3, date(2026, 10, 10)),  # a Saturday that is worked
        (date(2026, 11, 23), 0, date(2026, 11, 23)),  # an immediate item is due the same day
    ],
)
def test_working_days_are_counted_from_the_next_one(start: date, days: int, last: date) -> None:
    assert to_date(due(start, days).date) == last


def test_a_limit_beyond_the_loaded_year_is_provisional_and_no_error() -> None:
    within, beyond = due(date(2026, 11, 23), 28), due(date(2026, 11, 23), 29)
    assert (to_date(within.date), within.provisional) == (date(2026, 12, 31), False)
    assert (to_date(beyond.date), beyond.provisional) == (date(2027, 1, 1), True)


def test_a_calendar_day_limit_that_ends_on_a_day_off_ends_on_the_next_working_day() -> None:
    moved = due(date(2026, 11, 23), 5, Limit.UNIT_NATURAL_DAY)
    assert (to_date(moved.date), moved.rule) == (date(2026, 11, 30), "calendar-days-moved-to-working-day")
    kept = due(date(2026, 11, 23), 3, Limit.UNIT_NATURAL_DAY)
    assert (to_date(kept.date), kept.rule) == (date(2026, 11, 26), "calendar-days")


def test_an_immediate_item_is_due_the_same_day_even_on_a_day_off() -> None:
    same = due(date(2026, 11, 28), 0, Limit.UNIT_NATURAL_DAY)
    assert (to_date(same.date), same.rule) == (date(2026, 11, 28), "calendar-days")


def test_a_last_day_that_moves_does_not_stop_in_a_pause() -> None:
    stopped = pause(date(2026, 11, 30), date(2026, 12, 4))  # the Monday to Friday after the Saturday it would end on
    assert to_date(due(date(2026, 11, 23), 5, Limit.UNIT_NATURAL_DAY, (stopped,)).date) == date(2026, 12, 7)


def test_days_of_a_closed_pause_do_not_count() -> None:
    stopped = pause(date(2026, 11, 24), date(2026, 11, 25))
    assert to_date(due(date(2026, 11, 23), 5, pauses=(stopped,)).date) == date(2026, 12, 2)


def test_a_pause_that_is_open_moves_nothing_yet() -> None:
    assert due(date(2026, 11, 23), 5, pauses=(pause(date(2026, 11, 24)),)) == due(date(2026, 11, 23), 5)


def test_a_limit_in_months_is_refused() -> None:
    with pytest.raises(ValueError, match="UNIT_MONTH"):
        due(date(2026, 11, 23), 1, Limit.UNIT_MONTH)


def test_the_legal_day_is_that_of_the_deployments_zone() -> None:
    late = Timestamp()
    late.FromJsonString("2026-11-22T16:00:00Z")
    assert to_date(legal_date(late)) == date(2026, 11, 23)


@given(days_of_2026, st.integers(0, 60))
def test_a_working_day_limit_ends_on_a_working_day_after_exactly_so_many(start: date, count: int) -> None:
    last = to_date(due(start, count).date)
    worked = [day for day in (date.fromordinal(n) for n in range(start.toordinal() + 1, last.toordinal() + 1))
              if CALENDAR.is_working_day(day)]  # fmt: skip
    assert len(worked) == count
    assert not worked or worked[-1] == last


@given(days_of_2026, st.integers(0, 60), st.sampled_from([Limit.UNIT_WORKING_DAY, Limit.UNIT_NATURAL_DAY]))
def test_a_longer_limit_never_ends_earlier(start: date, count: int, unit: "Limit.Unit.ValueType") -> None:
    assert to_date(due(start, count, unit).date) <= to_date(due(start, count + 1, unit).date)
