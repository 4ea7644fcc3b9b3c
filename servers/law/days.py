"""Legal dates: the day on which something happens where the deployment is."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

ZONE = ZoneInfo("Asia/Shanghai")


def legal_date(moment: Timestamp) -> Date:
    """The day of a moment in the deployment's zone."""
    return legal_day(moment.ToDatetime(UTC))


def legal_day(moment: datetime) -> Date:
    """The day of a moment that knows its own zone, in the deployment's."""
    return to_message(moment.astimezone(ZONE).date())


def to_message(day: date) -> Date:
    """The contract's date."""
    return Date(year=day.year, month=day.month, day=day.day)


def to_date(day: Date) -> date:
    """A day of the contract's date; ValueError when it is no full date."""
    return date(day.year, day.month, day.day)
