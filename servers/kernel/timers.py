"""Fires the timers that are due; any replica may, the row decides which one does."""

import asyncio
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, select

from bridge.ports import StoreUnavailable
from servers.kernel import tables
from servers.kernel.stream import Refused, StreamKey
from servers.kernel.times import to_micros
from servers.kernel.units import Expire

if TYPE_CHECKING:
    from servers.kernel.kernel import Kernel

log = structlog.get_logger()

LOOK_SECONDS = 1.0
AT_ONCE = 200


class Timers:
    """Looks for due timers once a second."""

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel

    async def run(self) -> None:
        """Fire what is due, until cancelled."""
        while True:
            try:
                fired = await self._fire()
            except (StoreUnavailable, Refused) as error:
                log.warning("timers.paused", error=str(error))
                fired = 0
            if fired < AT_ONCE:
                await asyncio.sleep(LOOK_SECONDS)

    async def _fire(self) -> int:
        due = await self._kernel.read(self._due)
        results = await asyncio.gather(
            *(self._kernel.expire(Expire(key, name)) for key, name in due), return_exceptions=True
        )
        for (key, name), result in zip(due, results, strict=True):
            if isinstance(result, BaseException):
                log.error("timers.failed", stream=str(key), timer=name, error=type(result).__name__)
        return len(due)

    def _due(self, connection: Connection) -> list[tuple[StreamKey, str]]:
        columns = tables.timer.c
        now = to_micros(self._kernel.clock.now())
        statement = select(tables.timer).where(columns.due_at <= now).order_by(columns.due_at).limit(AT_ONCE)
        return [(_key(row.stream, row.case_id), row.name) for row in connection.execute(statement)]


def _key(stream: str, case_id: str) -> StreamKey:
    kind, _, name = stream.partition("/")
    return StreamKey(kind, name, case_id)
