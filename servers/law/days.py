"""Legal dates: the day on which something happens where the deployment is."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

ZONE = ZoneInfo("Asia/Shanghai")


def legal_date(moment: Timestamp) -> Date:
    """The day of a moment in the deployment's zone."""
    return to_message(datetime.fromtimestamp(moment.seconds, ZONE).date())


def legal_day(moment: datetime) -> Date:
    """The day of a moment that knows its own zone, in the deployment's."""
    return to_message(moment.astimezone(ZONE).date())


def start_of(day: Date) -> datetime:
    """The moment at which a legal date begins, in UTC."""
    return datetime.combine(to_date(day), time(), ZONE).astimezone(UTC)


def start_of_next(day: Date) -> datetime:
    """The moment at which a legal date has passed, in UTC."""
    return datetime.combine(to_date(day) + timedelta(days=1), time(), ZONE).astimezone(UTC)


def to_message(day: date) -> Date:
    """The contract's date."""
    return Date(year=day.year, month=day.month, day=day.day)


def to_date(day: Date) -> date:
    """A day of the contract's date; ValueError when it is no full date."""
    return date(day.year, day.month, day.day)
