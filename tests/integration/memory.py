"""A journal in memory, as the bridge sees one: it publishes, and takes in."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from bridge.ports import Arrived, Checkpoint, Cursor, Published, StoreUnavailable, Undecodable
from bridge.record import Record


class MemoryJournal:
    """Satisfies Outbox and Sink. While it is not `available`, nothing can be read or written; or only not written."""

    def __init__(self) -> None:
        self.epoch = 1
        self.available = True
        self.rows: list[Record] = []
        self.writable = True
        self.done = Published()
        self.kept: list[Checkpoint] = []
        self.undecodable: list[Undecodable] = []
        self.sources: list[str] = []
        """Where each record came from, repeated ones included."""
        self.stored: dict[str, Cursor] = {}
        self.refused: Sequence[Cursor] = ()
        """How far it was to be taken in when that could not be stored."""

    def append(self, *records: Record) -> None:
        """Decide something here."""
        self._reach()
        for record in records:
            self.rows.append(record._replace(position=len(self.rows) + 1))

    def of_case(self, case_id: str) -> list[int]:
        """The versions of a case's records, in the order in which they came."""
        return [record.version for record in self.rows if record.case_id == case_id]

    def _reach(self, *, to_write: bool = False) -> None:
        if not self.available or (to_write and not self.writable):
            raise StoreUnavailable("the test took it away")

    # --- Outbox ---

    async def unpublished(self, after: int, limit: int) -> tuple[Sequence[Record], int]:
        self._reach()
        records = self.rows[after : after + limit]
        return records, after + len(records)

    async def wait_beyond(self, position: int) -> None:
        await asyncio.sleep(0.01)

    async def published(self) -> Published:
        self._reach()
        return self.done

    async def checkpoints(self) -> Sequence[Checkpoint]:
        self._reach()
        return self.kept[::-1]

    async def advance(self, ends: Sequence[Checkpoint], rewinds: int, *, keep: bool) -> bool:
        self._reach(to_write=True)
        if rewinds != self.done.rewinds:
            return False
        known = {end.partition: end for end in (*self.done.ends, *ends)}
        last = max(ends, key=lambda end: end.position)
        self.done = Published(last.position, list(known.values()), rewinds)
        if keep:
            self.kept.append(last)
        return True

    async def rewind(self, published: Published) -> bool:
        self._reach(to_write=True)
        if published.rewinds != self.done.rewinds:
            return False
        self.done = replace(published, rewinds=published.rewinds + 1)
        self.kept = [kept for kept in self.kept if kept.position <= published.position]
        return True

    # --- Sink ---

    async def absorb(self, items: Sequence[Arrived | Undecodable], cursors: Sequence[Cursor]) -> None:
        self.refused = cursors
        self._reach(to_write=True)
        self.refused = ()
        known = {(record.origin, record.event_id) for record in self.rows}
        for item in items:
            self.sources.append(item.source)
            if isinstance(item, Undecodable):
                self.undecodable.append(item)
            elif (item.record.origin, item.record.event_id) not in known:
                self.append(item.record)
                known.add((item.record.origin, item.record.event_id))
        self.stored |= {cursor.name: cursor for cursor in cursors}

    async def cursors(self, prefix: str) -> Sequence[Cursor]:
        self._reach()
        return [cursor for name, cursor in self.stored.items() if name.startswith(prefix)]


async def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait for it to be so; fails with its name when it takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        await asyncio.sleep(0.02)
