"""Work that one replica does at a time, whoever holds the lease: a row in which its holder counts on.

No clocks are compared: a lease in which nobody has counted on for a while is free, by the watch of whoever looks. A
holder that stood still and goes on does the work beside the new one for a moment: the work must bear that.
"""

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog
from sqlalchemy import Connection, select

from bridge.ports import Cursor, StoreUnavailable
from servers.kernel import tables
from servers.kernel.stream import Refused
from servers.kernel.units import MoveCursors

if TYPE_CHECKING:
    from servers.kernel.kernel import Kernel

log = structlog.get_logger()

Work = Callable[[], Coroutine[Any, Any, None]]
# Leases stand among the cursors.
PREFIX = "lease/"
LOOK_SECONDS = 1.0
FREE_SECONDS = 5.0
# A process that ends does not wait longer to say so.
RELEASE_SECONDS = 2.0
NOBODY = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What the row says."""

    holder: str = NOBODY
    """<machine>/<pid>/<any>"""
    count: int = 0


@dataclass(eq=False)
class Lease:
    """One replica's part in one lease."""

    kernel: "Kernel"
    name: str
    is_held: bool = False
    """Whether this replica does the work."""
    _id: str = field(default_factory=lambda: f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex}")
    _seen: Held = Held()
    _seen_at: float = field(default_factory=time.monotonic)

    async def run(self, work: Work) -> None:
        """Do the work whenever the lease is held here, until cancelled or the work ends by itself."""
        try:
            while True:
                await self._until(True)
                log.info("lease.held", name=self.name)
                if await self._ended(work):
                    return
                log.warning("lease.lost", name=self.name)
        finally:
            await self._release()

    async def _ended(self, work: Work) -> bool:
        """Whether the work ended by itself, rather than with the lease."""
        running, lost = asyncio.create_task(work()), asyncio.create_task(self._until(False))
        try:
            await asyncio.wait({running, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = running.done()
            for task in (running, lost):
                task.cancel()
            await asyncio.gather(running, lost, return_exceptions=True)
        if ended:
            running.result()
        return ended

    async def _until(self, held: bool) -> None:
        """Look and count on, time after time. A database that does not answer takes the lease from nobody."""
        while True:
            with suppress(StoreUnavailable):
                await self._look()
                if self.is_held == held:
                    return
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        if self._may_take(await self.kernel.read(self._stored)):
            self.is_held = await self.kernel.write(self._take)
        else:
            self.is_held = False

    def _may_take(self, stored: Held) -> bool:
        if stored != self._seen:
            self._seen, self._seen_at = stored, time.monotonic()
        return stored.holder in (self._id, NOBODY) or time.monotonic() - self._seen_at > FREE_SECONDS

    def _take(self, connection: Connection) -> bool:
        """Count on as the holder, unless another one was faster."""
        stored = self._stored(connection)
        if stored != self._seen:
            return False
        self._store(connection, Held(self._id, stored.count + 1))
        return True

    async def _release(self) -> None:
        """Let another one go on at once."""
        self.is_held = False
        with suppress(StoreUnavailable, Refused, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await self.kernel.write(self._leave)

    def _leave(self, connection: Connection) -> None:
        stored = self._stored(connection)
        if stored.holder == self._id:
            self._store(connection, Held(NOBODY, stored.count + 1))

    def _stored(self, connection: Connection) -> Held:
        columns = tables.cursor.c
        value = connection.scalar(select(columns.value).where(columns.name == PREFIX + self.name))
        return Held(**json.loads(value)) if value else Held()

    def _store(self, connection: Connection, held: Held) -> None:
        cursor = Cursor(PREFIX + self.name, {"holder": held.holder, "count": held.count})
        MoveCursors([cursor]).store(connection, self.kernel.writer.statements)
