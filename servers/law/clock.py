"""When a limit ends. Working days and calendar days are counted; limits in hours or months are not used by any item.

行政许可法 art. 82: limits in days are working days, public holidays not counted. Art. 45: the time of hearings, tests
and the like is not counted. Art. 32: nor, in practice, the time the applicant takes to correct. 民法典 arts 201, 203:
the first day is not counted; where the last day is a day off, the next day that is not ends the period.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

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
    days = _Days(to_date(start), pauses, calendar)
    match limit.unit:
        case Limit.UNIT_WORKING_DAY:
            return days.due(days.working(limit.value), WORKING_DAYS)
        case Limit.UNIT_NATURAL_DAY:
            last = days.counted(limit.value)
            moved = days.next_working(last) if limit.value else last
            return days.due(moved, CALENDAR_DAYS if moved == last else MOVED_TO_WORKING_DAY)
        case _:
            raise ValueError(f"a limit in {Limit.Unit.Name(limit.unit)} cannot be counted in days")


class _Days:
    """Counts days from a start."""

    def __init__(self, start: date, pauses: Sequence[Pause], calendar: Calendar) -> None:
        self._start = start
        self._calendar = calendar
        closed = [pause for pause in pauses if pause.HasField("to")]
        self._pauses = [(to_date(getattr(pause, "from")), to_date(pause.to)) for pause in closed]

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

    def due(self, last: date, rule: str) -> DueDate:
        """The date with its rule; provisional where a year on the way is not published yet."""
        years = range(self._start.year, last.year + 1)
        known = all(self._calendar.is_known(date(year, 1, 1)) for year in years)
        return DueDate(date=to_message(last), provisional=not known, rule=rule)

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
