"""The working-day calendar: Monday to Friday, moved by the State Council's yearly notice (国务院办公厅节假日安排)."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

NOTICES = Path(__file__).parent / "calendars"
DAY = timedelta(days=1)
SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which days are working days. Of a year whose notice is not loaded, Monday to Friday is assumed."""

    years: frozenset[int]
    days_off: frozenset[date]
    """Public holidays, with the weekend days that lie in them."""
    workdays: frozenset[date]
    """Weekend days that are worked in exchange (调休)."""

    @classmethod
    def load(cls, notices: Iterable[Path] = ()) -> "Calendar":
        """Read notices, one file a year; those that come with ronghe when none are named."""
        years, off, work = set(), set(), set()
        for path in notices or sorted(NOTICES.glob("*.toml")):
            notice = tomllib.loads(path.read_text(encoding="utf-8"))
            years.add(notice["year"])
            off |= {day for period in notice["off"] for day in _period(period["from"], period["to"])}
            work |= set(notice["work"])
        return cls(frozenset(years), frozenset(off), frozenset(work))

    def is_known(self, day: date) -> bool:
        """Whether the notice of the day's year is loaded."""
        return day.year in self.years

    def is_working_day(self, day: date) -> bool:
        """Whether the day is worked."""
        return day in self.workdays or (day.weekday() < SATURDAY and day not in self.days_off)


def _period(first: date, last: date) -> Iterable[date]:
    if last < first:
        raise ValueError(f"the holiday from {first} ends before it begins, at {last}")
    return (first + DAY * number for number in range((last - first).days + 1))
