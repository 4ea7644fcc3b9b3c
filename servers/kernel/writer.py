"""Group commit: one thread drains its queues, decides in memory, writes in one transaction, and answers everyone."""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import structlog
from sqlalchemy import Connection

from bridge.crash import crash_point
from bridge.pacing import Pacer
from bridge.ports import StoreUnavailable
from bridge.record import Record
from clients.telemetry.unexpected import unexpected
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.batch import Batch, Taken
from servers.kernel.database import Database, is_outage, read_rows
from servers.kernel.epochs import EpochEnded
from servers.kernel.inbox import Item
from servers.kernel.live import KeptStreams
from servers.kernel.statements import Statements
from servers.kernel.stream import Refused, StreamKey
from servers.kernel.subsystem import Subsystem
from servers.kernel.times import EPOCH, Clock, from_micros
from servers.kernel.units import Absorb, Acknowledge, Execute, Unit

log = structlog.get_logger()

MAX_UNITS = 512
MAX_WAITING_CALLS = 4_000
# Further ones are refused: they would wait as long at least, and their callers would give up.
LONGEST_WAIT_SECONDS = 3.0
OUTAGE_PAUSE_SECONDS = 0.5


@dataclass(eq=False, slots=True)
class Job:
    """Units in their order, each of which may be done by itself; the future waits for the last one's result."""

    units: Sequence[Unit]
    future: "asyncio.Future[object]"
    since: float = field(default_factory=time.monotonic)
    is_taken: bool = False
    """Whether its turn has come: before, nothing of it was done."""

    @property
    def is_abandoned(self) -> bool:
        """Whoever asked for it has given up before its turn came: he learns nothing of it, so it need not be done."""
        return self.future.cancelled()


Works = Sequence[Sequence[Unit]]
"""The units of several jobs."""
Failed = Mapping[int, Exception]
"""What is wrong with a unit, by its `id()`."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What one transaction made durable."""

    position: int
    taken: Sequence[Taken]
    delivered: Mapping[str, Sequence[Item]]
    """By receiver."""
    sessions: Mapping[str, str]
    """The session that has taken a receiver's inbox over."""
    units: int
    finished_at: int
    """Nanoseconds since 1970."""


class JournalTime(NamedTuple):
    """When the row at a position was taken in."""

    position: int
    taken_at: datetime


class UnitFailed(Exception):
    """A unit failed after it had begun to change states: the transaction starts anew without it."""

    def __init__(self, unit: Unit, cause: Exception) -> None:
        super().__init__(type(cause).__name__)
        self.unit = unit
        self.cause = cause


class Writer:
    """The one writer of a database in this process."""

    def __init__(
        self,
        database: Database,
        subsystem: Subsystem,
        clock: Clock,
        on_commit: Callable[[Committed], None],
        epoch: int,
    ) -> None:
        self._database = database
        self._subsystem = subsystem
        self.statements = Statements(database, subsystem)
        self._clock = clock
        self._on_commit = on_commit
        self._epoch = epoch
        self._calls: deque[Job] = deque()
        self._background: deque[Job] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._pacer = Pacer()
        self._working_since = math.inf
        # Nobody else writes to an SQLite database. A replica on PostgreSQL may change states without a row in the
        # journal (timers, facts whose type was not known): its head does not show it.
        self._kept = KeptStreams() if database.is_sqlite else KeptStreams(most=0)
        self._last = JournalTime(0, EPOCH)
        self.originals: Mapping[str, Record] = {}
        """See Batch."""
        self.units = 0
        self.commits = 0

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what waits, then end."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def submit(self, jobs: Sequence[Job], *, background: bool = False) -> None:
        """Queue jobs; refuses early when too many calls wait."""
        queue = self._background if background else self._calls
        with self._wake:
            if self._stopping:
                raise Refused(Reason.REASON_SHUTTING_DOWN, "the server is shutting down: try again")
            _forget_abandoned(queue)
            if not background and _is_full(queue):
                raise Refused(Reason.REASON_OVERLOADED, f"{len(queue)} calls are waiting: try again later")
            queue.extend(jobs)
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._calls or self._background or self._stopping):
                    self._wake.wait()
                if not (self._calls or self._background):
                    return
            time.sleep(0.0 if self._stopping else self._pacer.delay())
            jobs = self._drain()
            if jobs:
                self._working_since = time.monotonic()
                self._work(jobs)
                self._working_since = math.inf
            self._pacer.passed(sum(len(job.units) for job in jobs))

    def _drain(self) -> list[Job]:
        """Calls first; records and other work after them. Each job is taken whole."""
        jobs: list[Job] = []
        with self._wake:
            for queue in (self._calls, self._background):
                taken = 0
                while queue and taken < MAX_UNITS:
                    job = queue.popleft()
                    # In this order: who gives up and finds it not taken yet can be sure that it will not be done.
                    job.is_taken = True
                    if not job.is_abandoned:
                        jobs.append(job)
                        taken += len(job.units)
        return jobs

    @property
    def stands_still(self) -> bool:
        """Whether it has been at the same work for long: the database does not answer."""
        return time.monotonic() - self._working_since > LONGEST_WAIT_SECONDS

    def _work(self, jobs: list[Job]) -> None:
        try:
            results = self._transact([job.units for job in jobs], {})
        except Exception as error:
            self._recover(jobs, error)
        else:
            _answer([(job.future, result) for job, result in zip(jobs, results, strict=True)])

    def _transact(self, works: Works, failed: Failed) -> Sequence[object]:
        """Do all of it in one transaction; again without a unit that fails, until it commits. A result a work."""
        while True:
            try:
                results, committed = self._attempt(works, failed)
            except UnitFailed as failure:
                _log_failed(failure.unit, failure.cause)
                failed = {**failed, id(failure.unit): failure.cause}
            else:
                self.units += committed.units
                self.commits += 1
                self._tell(committed)
                return results

    def _tell(self, committed: Committed) -> None:
        """What observers make of it cannot undo what is committed."""
        try:
            self._on_commit(committed)
        except Exception as error:
            log.error("writer.observer_failed", **unexpected(error))  # noqa: TRY400 - no text

    def _attempt(self, works: Works, failed: Failed) -> tuple[Sequence[object], Committed]:
        with self._database.writer.connect() as connection, connection.begin():
            batch = self._open(connection)
            self._prefetch(batch, [unit for units in works for unit in units if id(unit) not in failed])
            results = [_outcome(units, batch, failed) for units in works]
            batch.write()
            crash_point("before-commit")
        crash_point("after-commit")
        self._kept.keep(batch.streams, batch.hash)
        if batch.taken:
            self._last = JournalTime(batch.position, batch.recorded_at)
        return results, self._committed(batch, sum(map(len, works)))

    def _open(self, connection: Connection) -> Batch:
        ((_, epoch, position, last_hash),) = read_rows(connection, self.statements.lock_head)
        if epoch != self._epoch:
            raise EpochEnded(self._epoch, epoch)
        self._kept.forget_unless(last_hash)
        now = self._clock.now()
        return Batch(
            connection=connection,
            database=self._database,
            statements=self.statements,
            subsystem=self._subsystem,
            now=now,
            recorded_at=max(now, self._taken_at(connection, position)),
            epoch=epoch,
            position=position,
            hash=last_hash,
            kept=self._kept,
            originals=self.originals,
        )

    def _taken_at(self, connection: Connection, position: int) -> datetime:
        """When the journal's last row was taken in: times do not go back there, whatever becomes of the clock."""
        if self._last.position != position:
            rows = read_rows(connection, self.statements.taken_at, {"position": position})
            self._last = JournalTime(position, from_micros(rows[0][0] if rows else 0))
        return self._last.taken_at

    def _prefetch(self, batch: Batch, units: Sequence[Unit]) -> None:
        records = [unit.record for unit in units if isinstance(unit, Absorb) and unit.record]
        batch.load_requests(unit.key for unit in units if isinstance(unit, Execute))
        batch.load_events(records)
        batch.load_parked(record.case_id for record in records)
        batch.load_receivers(unit.said.receiver for unit in units if isinstance(unit, Acknowledge))
        batch.load(key for unit in units for key in _expected(unit, batch))

    def _committed(self, batch: Batch, units: int) -> Committed:
        return Committed(batch.position, batch.taken, batch.delivered, batch.sessions, units, time.time_ns())

    def _recover(self, jobs: list[Job], error: Exception) -> None:
        """Wait for the database where it failed; find the one unit that is at fault where it did not."""
        if is_outage(error):
            result = self._pause(error)
            _answer([(job.future, result) for job in jobs])
        elif len(jobs) > 1:
            middle = len(jobs) // 2
            self._work(jobs[:middle])
            self._work(jobs[middle:])
        else:
            _answer([(jobs[0].future, self._narrow(jobs[0].units, error))])

    def _pause(self, error: Exception) -> StoreUnavailable:
        if isinstance(error, EpochEnded):
            return error  # waiting would not help
        log.warning("writer.store_unavailable", error=type(error).__name__)
        self._database.writer.dispose()
        time.sleep(OUTAGE_PAUSE_SECONDS)
        return StoreUnavailable("the database does not answer")

    def _narrow(self, units: Sequence[Unit], error: Exception) -> object:
        """The last one's result. They failed together: each half is done by itself, down to the one at fault."""
        if len(units) == 1:
            _log_failed(units[0], error)
            return self._alone(units, {id(units[0]): error})
        middle = len(units) // 2
        result = self._alone(units[:middle], {})
        return result if isinstance(result, Exception) else self._alone(units[middle:], {})

    def _alone(self, units: Sequence[Unit], failed: Failed) -> object:
        try:
            return self._transact([units], failed)[0]
        except Exception as error:
            if is_outage(error):
                return self._pause(error)
            return error if failed else self._narrow(units, error)


def _forget_abandoned(queue: deque[Job]) -> None:
    """The oldest, until one is waited for: while the database stands still they would fill the queue."""
    while queue and queue[0].is_abandoned:
        queue.popleft()


def _is_full(calls: deque[Job]) -> bool:
    """By their number, or by how long the first of them has waited."""
    if not calls:
        return False
    return len(calls) >= MAX_WAITING_CALLS or time.monotonic() - calls[0].since > LONGEST_WAIT_SECONDS


def _log_failed(unit: Unit, error: Exception) -> None:
    log.error("writer.unit_failed", unit=type(unit).__name__, **unexpected(error))


def _expected(unit: Unit, batch: Batch) -> Iterable[StreamKey]:
    try:
        return unit.expects(batch)
    except Exception as error:
        if is_outage(error):
            raise
        raise UnitFailed(unit, error) from error


def _outcome(units: Sequence[Unit], batch: Batch, failed: Failed) -> object:
    """The last unit's result, or the exception that ends the work."""
    result: object = None
    try:
        for unit in units:
            error = failed.get(id(unit))
            result = _apply(unit, batch) if error is None else unit.fail(batch, error)
    except (Refused, StoreUnavailable) as refusal:
        return refusal
    except Exception as error:
        if any(error is answer for answer in failed.values()):
            return error
        raise
    return result


def _apply(unit: Unit, batch: Batch) -> object:
    before = batch.effects
    try:
        return unit.apply(batch)
    except Refused as refusal:
        # Nobody waits for a refusal of a record.
        if batch.effects != before or isinstance(unit, Absorb):
            raise UnitFailed(unit, refusal) from refusal
        raise
    except Exception as error:
        if is_outage(error):
            raise
        raise UnitFailed(unit, error) from error


Answers = list[tuple["asyncio.Future[object]", object]]


def _answer(answers: Answers) -> None:
    """Wake every waiting call of one loop with one call."""
    by_loop: dict[asyncio.AbstractEventLoop, Answers] = {}
    for future, result in answers:
        by_loop.setdefault(future.get_loop(), []).append((future, result))
    for loop, batch in by_loop.items():
        try:
            loop.call_soon_threadsafe(_set_results, batch)
        except RuntimeError:
            # The loop is closed: nobody waits any more; what was committed stays.
            log.info("writer.nobody_waits", count=len(batch))


def _set_results(answers: Answers) -> None:
    for future, result in answers:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
