"""Fires the timers that are due; any replica may, the row decides which one does."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from sqlalchemy import Connection, Row, select

from bridge.ports import StoreUnavailable
from servers.kernel import tables
from servers.kernel.stream import StreamKey
from servers.kernel.times import to_micros
from servers.kernel.units import Expire

if TYPE_CHECKING:
    from servers.kernel.kernel import Kernel

log = structlog.get_logger()

LOOK_SECONDS = 1.0
AT_ONCE = 200
# A timer that is still there after it was fired has failed: it is tried again later, twice as late each time.
FIRST_DELAY = timedelta(seconds=5)
LONGEST_DELAY = timedelta(minutes=10)


class Due(NamedTuple):
    """A timer, as it is stored."""

    stream: str
    name: str
    due_at: int


class Delay(NamedTuple):
    """How long a timer was put off when it was last fired, and until when."""

    length: timedelta
    until: datetime


class Timers:
    """Looks for due timers once a second."""

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self._fired: dict[Due, Delay] = {}

    async def run(self) -> None:
        """Fire what is due, until cancelled."""
        while True:
            try:
                fired = await self._fire()
            except StoreUnavailable as error:
                log.warning("timers.paused", error=str(error))
                fired = 0
            if fired < AT_ONCE:
                await asyncio.sleep(LOOK_SECONDS)

    async def _fire(self) -> int:
        rows = await self._kernel.read(self._due)
        if self._kernel.clock.step:  # perhaps since they were read
            return 0  # nobody knows whether it is time
        there = {_due(row) for row in rows}
        self._fired = {due: delay for due, delay in self._fired.items() if due in there}
        now = self._kernel.clock.now()
        ready = [row for row in rows if self._is_ready(_due(row), now)][:AT_ONCE]
        results = await asyncio.gather(*map(self._expire, ready), return_exceptions=True)
        for row, result in zip(ready, results, strict=True):
            if isinstance(result, StoreUnavailable):
                raise result
            self._put_off(_due(row), now)
            if isinstance(result, BaseException):
                log.error("timers.failed", stream=row.stream, timer=row.name, error=type(result).__name__)
        return len(ready)

    async def _expire(self, row: Row[Any]) -> None:
        await self._kernel.expire(Expire(_key(row.stream, row.case_id), row.name))

    def _is_ready(self, due: Due, now: datetime) -> bool:
        return due not in self._fired or self._fired[due].until <= now

    def _put_off(self, due: Due, now: datetime) -> None:
        """In case it is there again at the next look."""
        before = self._fired.get(due)
        length = min(before.length * 2, LONGEST_DELAY) if before else FIRST_DELAY
        self._fired[due] = Delay(length, now + length)

    def _due(self, connection: Connection) -> Sequence[Row[Any]]:
        """Those that are put off do not keep the others out."""
        columns = tables.timer.c
        statement = (
            select(tables.timer)
            .where(columns.due_at <= to_micros(self._kernel.clock.now()))
            .order_by(columns.due_at)
            .limit(AT_ONCE + len(self._fired))
        )
        return connection.execute(statement).all()


def _due(row: Row[Any]) -> Due:
    return Due(row.stream, row.name, row.due_at)


def _key(stream: str, case_id: str) -> StreamKey:
    kind, _, name = stream.partition("/")
    return StreamKey(kind, name, case_id)
