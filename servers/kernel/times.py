"""Times as they stand in the tables, and the one port they come from."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """Where all time comes from."""

    def now(self) -> datetime:
        """The time now, in UTC."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time now, in UTC."""
        return datetime.now(UTC)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (moment - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The moment of so many microseconds since 1970 UTC."""
    return EPOCH + micros * MICROSECOND


def to_timestamp(micros: int) -> Timestamp:
    """The contract's timestamp of so many microseconds since 1970 UTC."""
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)
