"""When a limit ends. Working days and calendar days are counted; limits in hours or months are not used by any item.

行政许可法 art. 82: limits in days are working days, public holidays not counted. Art. 45: the time of hearings, tests
and the like is not counted. Art. 32: nor, in practice, the time the applicant takes to correct. 民法典 arts 201, 203:
the first day is not counted; where the last day is a day off, the next day that is not ends the period.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import lru_cache

from google.type.date_pb2 import Date

from ronghe.case.v1.case_pb2 import Pause
from ronghe.catalog.v1.catalog_pb2 import Limit
from ronghe.document.v1.document_pb2 import DueDate
from servers.law.calendar import Calendar
from servers.law.days import to_date, to_message

WORKING_DAYS = "working-days"
CALENDAR_DAYS = "calendar-days"
MOVED_TO_WORKING_DAY = "calendar-days-moved-to-working-day"
DAY = timedelta(days=1)


def due_date(start: Date, limit: Limit, pauses: Sequence[Pause], calendar: Calendar) -> DueDate:
    """The last day of a limit that begins on `start` (day 0). Days in a closed pause do not count, both ends included.

    ValueError for a unit other than working or calendar days.
    """
    closed = tuple((to_date(getattr(pause, "from")), to_date(pause.to)) for pause in pauses if pause.HasField("to"))
    last, rule, provisional = _end(to_date(start), limit.unit, limit.value, closed, calendar)
    return DueDate(date=to_message(last), provisional=provisional, rule=rule)


# Most cases of a day end on few days.
@lru_cache(1024)
def _end(
    start: date, unit: "Limit.Unit.ValueType", value: int, closed: tuple[tuple[date, date], ...], calendar: Calendar
) -> tuple[date, str, bool]:
    """The last day, the rule that set it, and whether a year on the way is not published yet."""
    days = _Days(start, closed, calendar)
    match unit:
        case Limit.UNIT_WORKING_DAY:
            last, rule = days.working(value), WORKING_DAYS
        case Limit.UNIT_NATURAL_DAY:
            counted = days.counted(value)
            last = days.next_working(counted) if value else counted
            rule = CALENDAR_DAYS if last == counted else MOVED_TO_WORKING_DAY
        case _:
            raise ValueError(f"a limit in {Limit.Unit.Name(unit)} cannot be counted in days")
    return last, rule, not all(calendar.is_known(date(year, 1, 1)) for year in range(start.year, last.year + 1))


class _Days:
    """Counts days from a start."""

    def __init__(self, start: date, pauses: Sequence[tuple[date, date]], calendar: Calendar) -> None:
        self._start = start
        self._pauses = pauses
        self._calendar = calendar

    def working(self, count: int) -> date:
        """The last of so many working days."""
        return self._last(count, (day for day in self._following() if self._calendar.is_working_day(day)))

    def counted(self, count: int) -> date:
        """The last of so many calendar days."""
        return self._last(count, self._following())

    def next_working(self, day: date) -> date:
        """The day, or when it is a day off the next working day that is not in a pause."""
        while self._paused(day) or not self._calendar.is_working_day(day):
            day += DAY
        return day

    def _last(self, count: int, days: Iterator[date]) -> date:
        last = self._start
        for _ in range(count):
            last = next(days)
        return last

    def _following(self) -> Iterator[date]:
        """The days after the start that are not in a pause."""
        day = self._start
        while True:
            day += DAY
            if not self._paused(day):
                yield day

    def _paused(self, day: date) -> bool:
        return any(first <= day <= last for first, last in self._pauses)
