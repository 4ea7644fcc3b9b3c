"""The kernel's face: asynchronous at the door, one writer thread behind it."""

import asyncio
import json
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Protocol, TypeVar, cast

from google.protobuf.message import Message
from sqlalchemy import Connection, select

from bridge.crash import crash_point
from bridge.ports import Arrived, Checkpoint, Cursor, Published, StoreUnavailable, Undecodable
from bridge.record import Arrival, Record
from clients.identity import Identity
from clients.telemetry import SpanContext, SpanSink
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel import journal, outbox, tables
from servers.kernel.background import in_background
from servers.kernel.checkpoints import checkpoints
from servers.kernel.clock import LegalClock, watched
from servers.kernel.database import KEEPALIVE, READERS, Database, is_outage
from servers.kernel.epochs import while_epoch_lasts
from servers.kernel.heads import SignHead
from servers.kernel.herald import Herald
from servers.kernel.inbox import Acknowledgement
from servers.kernel.inbox_session import Sessions
from servers.kernel.late import LateFacts, Meet
from servers.kernel.migrate import migrate
from servers.kernel.operator_acts import Act
from servers.kernel.recent import Recent
from servers.kernel.signals import Signals
from servers.kernel.spans import record_events
from servers.kernel.stream import Refused
from servers.kernel.subsystem import Subsystem
from servers.kernel.timers import Timers
from servers.kernel.times import MachineClock, SystemClock
from servers.kernel.units import Absorb, Acknowledge, Change, Execute, Expire, MoveCursors, OpenSession, Relearn, Unit
from servers.kernel.voiding import VoidAcknowledgements
from servers.kernel.writer import Committed, Job, Writer

R = TypeVar("R", bound=Message)
T = TypeVar("T")


# A database that stands still answers nobody, not even with an error. Whoever calls is told in time all the same: in
# this share of the time he has, and so soon where he only reads.
PATIENCE = 0.9
READ_SECONDS = 4.0


class CommandCall(Protocol):
    """What the kernel needs to know of a call that carries a command."""

    @property
    def caller(self) -> Identity:
        """Who calls, from the certificate."""

    @property
    def deadline(self) -> float:
        """time.monotonic() at which the caller gives up."""

    @property
    def span(self) -> SpanContext:
        """The call's own server span."""


class Kernel:
    """One database's journal, streams and inboxes. Use it through `running`."""

    def __init__(
        self,
        database: Database,
        subsystem: Subsystem,
        clock: LegalClock,
        spans: SpanSink,
        observe: Callable[[Committed], None],
    ) -> None:
        self.database = database
        self.subsystem = subsystem
        self.clock = clock
        self.spans = spans
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        with database.reader.connect() as connection:
            head = connection.execute(select(tables.journal_head)).one()
            clock.learn(connection)
        self.epoch: int = head.epoch
        self.signals = Signals(head.position)
        self._recent = Recent()
        self.sessions = Sessions()
        self.writer = Writer(database, subsystem, clock, self._on_commit, head.epoch)
        self._told: set[tuple[str, str]] = set()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        # Nobody shares an SQLite database.
        self._herald = None if database.is_sqlite else Herald(database.url, self._heard, KEEPALIVE)

    # --- the door ---

    async def execute(self, command: Message, call: CommandCall, answer: type[R]) -> R:
        """Decide a command, and give the answer of this type; its effect is durable then.

        Raises Refused, StoreUnavailable.
        """
        unit = Execute(command, call.caller, call.deadline, call.span)
        return cast("R", await self._submit([unit], call.deadline))

    async def execute_all(self, commands: Sequence[Message], call: CommandCall) -> Sequence[Message | Exception]:
        """The same of many, each by itself: its answer, or its error."""
        answers = [self._loop.create_future() for _ in commands]
        units = [Execute(command, call.caller, call.deadline, call.span) for command in commands]
        try:
            jobs = [Job([unit], answer) for unit, answer in zip(units, answers, strict=True)]
            self.writer.submit(jobs)
            done = asyncio.gather(*answers, return_exceptions=True)
            patience = PATIENCE * (call.deadline - time.monotonic())
            outcomes = await _in_time(done, patience, lambda: self._late(jobs))
            return cast("Sequence[Message | Exception]", outcomes)
        except (Refused, StoreUnavailable) as error:
            return [error] * len(commands)

    async def lacking(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those that the journal does not have. Raises StoreUnavailable."""
        known = await self.read(lambda connection: journal.known(connection, [record.event_id for record in records]))
        return [record for record in records if (record.event_id, record.origin) not in known]

    async def absorb(self, items: Sequence[Arrived | Undecodable], cursors: Sequence[Cursor]) -> None:
        """Take records in, and remember where to go on, in one transaction; durable when this returns.

        What is known already is skipped; what cannot be taken in is set aside with its case. Raises StoreUnavailable.
        """
        units: list[Unit] = [Absorb(item) for item in items]
        await self._submit([*units, MoveCursors(list(cursors))])

    async def relearn(
        self, items: Sequence[Arrived | Undecodable], originals: Mapping[str, Record], left_behind: set[str]
    ) -> None:
        """Take in what the topic has after a restore, own records too; `originals`: all of those, by id.

        `left_behind`: cases of which something was not taken in; it grows.
        """
        if originals is not self.writer.originals:
            self.writer.originals = originals
            self._told = {(each.case_id, cause) for each in originals.values() for cause in each.causes}
        of_case: dict[str, list[Relearn]] = defaultdict(list)
        units: list[Relearn] = []
        for item in items:
            unit = Relearn(item, left_behind=left_behind, told=self._told)
            unit.before = tuple(of_case[unit.case_id])
            of_case[unit.case_id].append(unit)
            units.append(unit)
        await self._submit(units)
        # Not before: a transaction that is done once more begins with what was left before it.
        left_behind.update(unit.case_id for unit in units if unit.is_left and unit.case_id)

    async def write(self, change: Callable[[Connection], T], deadline: float | None = None) -> T:
        """Another change in a transaction of the writer; it must find out whether it can before it writes.

        `deadline`: time.monotonic() at which the caller who waits for it gives up; none where it is the server's own.
        Raises Refused, StoreUnavailable.
        """
        return cast("T", await self._submit([Change(change)], deadline))

    async def operate(self, act: Act) -> Message:
        """Do what an operator asks for; durable and written down on return. Raises Refused, StoreUnavailable."""
        return cast("Message", await self._submit([act], act.deadline))

    async def meet(self, facts: Sequence[Meet]) -> None:
        """Let streams take in what was journaled before its type was known."""
        await self._submit(facts)

    async def expire(self, timer: Expire) -> None:
        """Let a timer that is due have its effect."""
        await self._submit([timer])

    async def sign(self, head: SignHead) -> None:
        """Sign the journal's head, where it is due. Raises StoreUnavailable."""
        await self._submit([head])

    async def read(self, query: Callable[[Connection], T]) -> T:
        """A short read on a reader thread. Raises StoreUnavailable."""
        return await _in_time(self._loop.run_in_executor(self._readers, self.read_here, query), READ_SECONDS)

    async def acknowledge(self, said: Acknowledgement, deadline: float | None = None) -> None:
        """Store what a receiver says about items of its inbox. Raises Refused, StoreUnavailable.

        `deadline`: of a call, as in `write`. A stream has none: it says one thing after another.
        """
        await self._submit([Acknowledge(said)], deadline)

    async def open_session(self, receiver: str, session: str, epoch: int, deadline: float | None = None) -> None:
        """From now on only this session may acknowledge what the receiver gets. Raises Refused, StoreUnavailable.

        `epoch`: of the receiver's own record; a greater one than before makes what it acknowledged void.
        `deadline`: as in `acknowledge`.
        """
        is_later = await self._submit([OpenSession(receiver, session, epoch)], deadline)
        first = 1 if is_later else 0
        while first:
            part = VoidAcknowledgements(receiver, session, epoch, first)
            first = cast("int", await self._submit([part]))

    def read_here(self, query: Callable[[Connection], T]) -> T:
        """A short read on the caller's own thread. Raises StoreUnavailable."""
        try:
            with self.database.reader.connect() as connection:
                return query(connection)
        except Exception as error:
            if is_outage(error):
                raise StoreUnavailable("the database does not answer") from error
            raise

    async def _submit(self, units: Sequence[Unit], deadline: float | None = None) -> object:
        """The last unit's result. What a caller waits for is bounded and answered before his deadline; else neither."""
        future: asyncio.Future[object] = self._loop.create_future()
        patience = math.inf if deadline is None else PATIENCE * (deadline - time.monotonic())
        if patience <= 0:
            raise Refused(Reason.REASON_DEADLINE_EXCEEDED, "the deadline passed before the work began")
        job = Job(units, future)
        self.writer.submit([job], background=deadline is None)
        return await _in_time(future, patience, lambda: self._late([job]))

    def _late(self, jobs: Sequence[Job]) -> Exception:
        """Why a call's time was over before it was answered: what waited behind others' work was not begun."""
        if self.writer.stands_still or any(job.is_taken for job in jobs):
            return _unanswered()
        return Refused(Reason.REASON_OVERLOADED, "the call's turn did not come in its time: try again later")

    def _on_commit(self, committed: Committed) -> None:
        """Called on the writer's thread."""
        # First of all: whoever waits is told whatever becomes of the rest.
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._committed, committed)
        if self._herald and committed.taken:
            self._herald.tell(committed.position)
        record_events(self.spans, committed)
        self._observe(committed)

    def _heard(self, position: int) -> None:
        """Called on the herald's thread."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.signals.heard, position)

    def _committed(self, committed: Committed) -> None:
        self._recent.add([taken.record for taken in committed.taken])
        self.sessions.opened(committed.sessions)
        self.signals.committed(committed.position, committed.delivered)

    def start(self) -> None:
        """Begin to work."""
        self.writer.start()
        if self._herald:
            self._herald.start()

    def stop(self) -> None:
        """Finish what waits, and end the threads."""
        self.writer.stop()
        if self._herald:
            self._herald.stop()
        self._readers.shutdown()

    # --- the journal, as the bridge sees it ---

    async def unpublished(self, after: int, limit: int) -> tuple[Sequence[Record], int]:
        """Rows to publish behind a position, in order, and up to where the journal was looked through."""
        recent = self._recent.behind(after, limit)
        if recent:
            return [record for record in recent if record.arrival is not Arrival.KAFKA], recent[-1].position
        return await self.read(lambda connection: journal.unpublished(connection, after, limit))

    async def wait_beyond(self, position: int) -> None:
        """Return when the journal may have rows beyond the position."""
        await self.signals.beyond(position)

    async def published(self) -> Published:
        """Up to where everything is published, and where it lies."""
        return await self.read(outbox.published)

    async def checkpoints(self) -> Sequence[Checkpoint]:
        """Some of the published rows, newest first."""
        return await self.read(outbox.checkpoints)

    async def advance(self, ends: Sequence[Checkpoint], rewinds: int, *, keep: bool) -> bool:
        """Everything up to the last of these rows is published, unless it was set back; keep it as a checkpoint."""
        return await self.write(
            lambda connection: outbox.advance(connection, self.writer.statements, ends, rewinds, keep=keep)
        )

    async def rewind(self, published: Published) -> bool:
        """Publish again from behind a position, unless it was set back already."""
        return await self.write(lambda connection: outbox.rewind(connection, self.writer.statements, published))

    async def cursors(self, prefix: str) -> Sequence[Cursor]:
        """Stored cursors whose name begins so."""
        columns = tables.cursor.c
        statement = select(columns.name, columns.value).where(columns.name.startswith(prefix, autoescape=True))
        return await self.read(
            lambda connection: [Cursor(row.name, json.loads(row.value)) for row in connection.execute(statement)]
        )


def _unanswered() -> Exception:
    """What becomes of it is not known."""
    return StoreUnavailable("the database does not answer in time")


async def _in_time(answer: Awaitable[T], seconds: float, late: Callable[[], Exception] = _unanswered) -> T:
    """The answer. Raises `late` where there is none in so many seconds."""
    try:
        async with asyncio.timeout(None if math.isinf(seconds) else seconds) as limit:
            return await answer
    except TimeoutError:
        if not limit.expired():
            raise
        raise late() from None


@asynccontextmanager
async def running(
    url: str,
    subsystem: Subsystem,
    spans: SpanSink,
    *,
    clock: MachineClock | None = None,
    stepped: bool = False,
    observe: Callable[[Committed], None] = lambda committed: None,
    prepare: Callable[[Kernel], Awaitable[None]] | None = None,
) -> AsyncIterator[Kernel]:
    """Bring the database to the newest schema and run the kernel on it; on leaving, finish what waits.

    `stepped`: a simulation, whose clock operators may advance. Raises ClockAdvanced where they have, and this is none.
    `prepare` comes before timers and everybody else.
    """
    database = Database(url)
    try:
        await asyncio.to_thread(migrate, database, subsystem)
        kernel = Kernel(database, subsystem, LegalClock(clock or SystemClock(), stepped=stepped), spans, observe)
        async with _working(kernel, prepare):
            yield kernel
    finally:
        database.close()


@asynccontextmanager
async def _working(kernel: Kernel, prepare: Callable[[Kernel], Awaitable[None]] | None) -> AsyncIterator[None]:
    kernel.start()
    try:
        if prepare is not None:
            await prepare(kernel)
        late = LateFacts(kernel)
        works = [Timers(kernel).run(), late.run(), watched(kernel), while_epoch_lasts(kernel)]
        if kernel.database.is_sqlite:
            works.append(checkpoints(str(kernel.database.url.database)))
        else:
            works.append(kernel.sessions.watch(kernel))
        async with in_background(*works):
            await late.meet_all()
            yield
    finally:
        crash_point("during-shutdown")
        await asyncio.to_thread(kernel.stop)
