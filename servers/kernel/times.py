"""Times as they stand in the tables, and the one port they come from."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# Where the system has it: a clock that goes on while the machine sleeps.
EVEN = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Where all time comes from."""

    def now(self) -> datetime:
        """The time now, in UTC."""


class MachineClock(Clock, Protocol):
    """A clock that may be stepped, with one beside it that grows evenly."""

    @property
    def boot(self) -> str:
        """Names where and since when `uptime` grows: another boot's cannot be compared."""

    def uptime(self) -> timedelta:
        """Grows evenly, whatever becomes of `now`."""


class SystemClock:
    """The machine's clock.

    A fault campaign steps it: `RONGHE_CLOCK_STEP=@<folder>`; the file there that is named as the deployment holds
    seconds.
    """

    def __init__(self) -> None:
        folder = os.environ.get("RONGHE_CLOCK_STEP", "").removeprefix("@")
        self._step = Path(folder, os.environ.get("RONGHE_ORIGIN", "")) if folder else None
        self.boot = BOOT.read_text().strip() if BOOT.exists() else str(os.getpid())

    def now(self) -> datetime:
        """The time now, in UTC."""
        now = datetime.now(UTC)
        return now + _seconds_in(self._step) if self._step else now

    def uptime(self) -> timedelta:
        """Since the machine was started, its sleep included."""
        return timedelta(seconds=time.clock_gettime(EVEN))


def _seconds_in(file: Path) -> timedelta:
    try:
        return timedelta(seconds=float(file.read_text()))
    except (OSError, ValueError):
        return timedelta()


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (moment - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The moment of so many microseconds since 1970 UTC."""
    return EPOCH + micros * MICROSECOND


def to_timestamp(micros: int) -> Timestamp:
    """The contract's timestamp of so many microseconds since 1970 UTC."""
    timestamp = Timestamp()
    set_micros(timestamp, micros)
    return timestamp


def set_micros(timestamp: Timestamp, micros: int) -> None:
    """Set the contract's timestamp to so many microseconds since 1970 UTC."""
    timestamp.seconds, micros = divmod(micros, 1_000_000)
    timestamp.nanos = micros * 1000
