"""Facts that came before their type was known: journaled raw, and met to their streams by a version that knows them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, select, update

from bridge.ports import Arrived, StoreUnavailable
from bridge.record import Record, fact_class
from servers.kernel import journal, tables
from servers.kernel.batch import Batch
from servers.kernel.parking import Impossible, problem_of, raise_objection, to_row
from servers.kernel.stream import StreamKey
from servers.kernel.times import to_micros

if TYPE_CHECKING:
    from servers.kernel.kernel import Kernel

log = structlog.get_logger()

# The source of a dead letter that the journal has already: followed by its position.
JOURNAL = "journal/"
AT_ONCE = 200
# A replica of an older version may still journal what this one knows.
LOOK_SECONDS = 60.0


def meet(batch: Batch, position: int) -> None:
    """Let the streams that it concerns take in what the journal has had for long; raises Impossible."""
    record = _record(batch.connection, position)
    if record.fact is None:
        raise Impossible(f"its bytes are no {record.type}")
    keys = batch.subsystem.concerned(record)
    raise_objection(batch, record, keys)
    met_after = batch.take_in_late(record, keys, time.time_ns())
    _mark(batch, position, met_after)


@dataclass(eq=False)
class Meet:
    """One of them, at its position in the journal."""

    position: int

    def expects(self, batch: Batch) -> Sequence[StreamKey]:
        """It is rare: its streams are loaded when its turn comes."""
        return ()

    def apply(self, batch: Batch) -> None:
        """Meet it to its streams, unless another replica has."""
        columns = tables.raw_fact.c
        statement = select(columns.tried_at).where(columns.position == self.position)
        if batch.connection.scalar(statement) is None:
            meet(batch, self.position)

    def fail(self, batch: Batch, error: Exception) -> None:
        """It is set aside with its case, as if it came now."""
        item = Arrived(_record(batch.connection, self.position), f"{JOURNAL}{self.position}")
        batch.park(to_row(item, problem_of(error)))
        _mark(batch, self.position, None)


def _record(connection: Connection, position: int) -> Record:
    (record,) = journal.at_positions(connection, [position])
    return record


def _mark(batch: Batch, position: int, met_after: int | None) -> None:
    raw = tables.raw_fact
    values = {"tried_at": to_micros(batch.now), "met_after": met_after}
    batch.connection.execute(update(raw).where(raw.c.position == position).values(**values))


class LateFacts:
    """Looks for raw facts of types that are known now."""

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel

    async def run(self) -> None:
        """Look once in a while, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.meet_all()
            except StoreUnavailable as error:
                log.warning("late_facts.paused", error=str(error))

    async def meet_all(self) -> None:
        """Meet all there are now, in the journal's order: a replica of an older version may go on adding to them."""
        last = await self._kernel.read(lambda connection: connection.scalar(select(tables.journal_head.c.position)))
        while positions := await self._kernel.read(partial(_known_now, last=last or 0)):
            await self._kernel.meet([Meet(position) for position in positions])
            log.info("late_facts.met", count=len(positions))


def _known_now(connection: Connection, last: int) -> Sequence[int]:
    columns = tables.raw_fact.c
    untried = columns.tried_at.is_(None) & (columns.position <= last)
    types = connection.scalars(select(columns.type).where(untried).distinct())
    known = [name for name in types if fact_class(name) is not None]
    if not known:
        return []
    statement = select(columns.position).where(untried, columns.type.in_(known)).order_by(columns.position)
    return connection.scalars(statement.limit(AT_ONCE)).all()
