"""What the writer works on: each unit is decided in the batch's transaction, and answered after its commit."""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message
from sqlalchemy import Connection, select

from bridge.crash import crash_point
from bridge.ports import Arrived, Cursor, Undecodable
from bridge.record import Record
from clients.identity import Identity
from clients.telemetry import SpanContext
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel import journal, tables
from servers.kernel.batch import MAX_COMMANDED_BYTES, Batch
from servers.kernel.database import write_rows
from servers.kernel.derived import event_at, first_event
from servers.kernel.inbox import Acknowledgement
from servers.kernel.live import LiveStream
from servers.kernel.parking import Waiting, objection, problem_of, settle, to_row, waiting_of
from servers.kernel.statements import Statements
from servers.kernel.stream import Facts, Refused, Scope, StreamKey
from servers.kernel.times import from_micros, to_micros

T = TypeVar("T")

# Of a digest, to tell records apart that came from one place.
DIGITS = 16


class Unit(Protocol):
    """One piece of work in a batch."""

    def expects(self, batch: Batch) -> Iterable[StreamKey]:
        """The streams it will most likely need: they are loaded together. Called before it is applied, each time."""

    def apply(self, batch: Batch) -> object:
        """Do it in memory; its result is answered after the commit. Refused: nothing was appended."""

    def fail(self, batch: Batch, error: Exception) -> object:
        """It cannot be done because of a fault of its own: what to do instead; raises to answer with the error."""


@dataclass(eq=False)
class Execute:
    """A command of a caller."""

    command: Message
    caller: Identity
    deadline: float
    """time.monotonic() at which the caller gives up."""
    call: SpanContext | None
    started_at: int = field(default_factory=time.time_ns)
    _expected: Sequence[StreamKey] = ()

    @cached_property
    def key(self) -> str:
        """What makes a request the same request, by a unary call or in bulk: the id of the first event it causes."""
        command = self.command
        return first_event(str(self.caller), command.DESCRIPTOR.name, command.request_id)  # type: ignore[attr-defined]

    def expects(self, batch: Batch) -> Iterable[StreamKey]:
        """The stream the command is for."""
        scope = batch.scope(self.caller, self.key)
        self._expected = [batch.subsystem.stream_for(self.command).target(self.command, scope)]
        return self._expected

    def apply(self, batch: Batch) -> Message:
        """Decide it, or give a repeated request its first answer."""
        if time.monotonic() >= self.deadline:
            raise Refused(Reason.REASON_DEADLINE_EXCEEDED, "the deadline passed before the command's turn came")
        rules = batch.subsystem.stream_for(self.command)
        digest = hashlib.sha256(self.command.SerializeToString(deterministic=True)).digest()
        before = batch.requests.get(self.key)
        if before is not None:
            return rules.reply(self.command, self._caused(batch, digest, *before))
        (target,), scope = self._expected, batch.scope(self.caller, self.key)
        live = batch.stream(target)
        facts = self._decide(batch, live, scope)
        ids = (event_at(self.key, place) for place in count())
        records = batch.append(
            live, facts, live.last_cause, ids.__next__, self.call, self.started_at, MAX_COMMANDED_BYTES
        )
        self._remember(batch, digest, records)
        return rules.reply(self.command, records)

    def _decide(self, batch: Batch, live: LiveStream, scope: Scope) -> Facts:
        try:
            return live.rules.decide(live.state, self.command, scope)
        except Refused as refused:
            if refused.reason == Reason.REASON_CASE_CHANGED:
                since = batch.types_since(live, self.command.if_version)  # type: ignore[attr-defined]
                refused.metadata = {**refused.metadata, "events": ",".join(since)}
            raise

    def fail(self, batch: Batch, error: Exception) -> object:
        """The caller gets the error."""
        raise error

    def _caused(self, batch: Batch, digest: bytes, first_digest: bytes, positions: str) -> list[Record]:
        if first_digest and digest != first_digest:  # of a request that was learned again the body is not known
            raise Refused(
                Reason.REASON_REQUEST_ID_REUSED,
                "this request_id was used before with another body: use a new one for a new request",
            )
        wanted = [int(position) for position in positions.split(",") if position]
        here = [taken.record for taken in batch.taken if taken.record.position in wanted]
        return here or list(journal.at_positions(batch.connection, wanted))

    def _remember(self, batch: Batch, digest: bytes, records: list[Record]) -> None:
        positions = ",".join(str(record.position) for record in records)
        batch.requests[self.key] = (digest, positions)
        batch.new_requests.append({"key": self.key, "digest": digest, "positions": positions})


@dataclass(eq=False)
class Absorb:
    """One record from elsewhere."""

    item: Arrived | Undecodable
    started_at: int = field(default_factory=time.time_ns)
    _expected: Sequence[StreamKey] = ()

    @property
    def record(self) -> Record | None:
        """The record, where it is one."""
        return self.item.record if isinstance(self.item, Arrived) else None

    def expects(self, batch: Batch) -> Iterable[StreamKey]:
        """The streams it concerns."""
        self._expected = batch.subsystem.concerned(self.record) if self.record else ()
        return self._expected

    def apply(self, batch: Batch) -> None:
        """Take it in, unless it is known, or must be set aside."""
        if isinstance(self.item, Undecodable):
            self._park_once(batch, self.item.error)
        elif not (batch.knows(self.item.record) or batch.was_set_aside(self.item.record)):
            self._take(batch, self.item.record)

    def _take(self, batch: Batch, record: Record) -> None:
        keys = self._expected
        if record.fact is not None and not keys:
            return
        if record.case_id in batch.parked_cases:
            self._park(batch, "waits behind an earlier record of its case that was set aside")
            return
        problem = objection(batch, record, keys)
        if problem:
            self._park(batch, problem)
            return
        batch.take_in(record, keys, self.started_at)

    def fail(self, batch: Batch, error: Exception) -> None:
        """Poison stops only its own case: it is set aside, with a description and without its contents."""
        self._park_once(batch, problem_of(error))

    def _park_once(self, batch: Batch, problem: str) -> None:
        """Unless it is set aside already: an event that is published again comes from another place."""
        row = self._row(problem)
        batch.load_parked(filter(None, [row["case_id"]]))
        if not batch.was_parked(row):
            batch.park(row)

    def _park(self, batch: Batch, problem: str) -> None:
        batch.park(self._row(problem))

    def _row(self, problem: str) -> dict[str, Any]:
        """Its place alone would not do: a broker that was put back from older data gives it to another record."""
        row = to_row(self.item, problem)
        which = hashlib.sha256(row["headers"].encode() + row["digest"]).hexdigest()[:DIGITS]
        return row | {"source": f"{row['source']}#{which}"}


@dataclass(eq=False)
class MoveCursors:
    """Where to go on after the records of this transaction."""

    cursors: list[Cursor]

    def expects(self, batch: Batch) -> Iterable[StreamKey]:
        """No stream."""
        return ()

    def apply(self, batch: Batch) -> None:
        """Store them."""
        self.store(batch.connection, batch.statements)

    def store(self, connection: Connection, statements: Statements) -> None:
        """Store them in an open transaction."""
        rows = [{"name": cursor.name, "value": json.dumps(cursor.value)} for cursor in self.cursors]
        if rows:
            write_rows(connection, statements.upsert_cursor, rows)

    def fail(self, batch: Batch, error: Exception) -> object:
        """Whoever handed the records over tries again."""
        raise error


@dataclass(eq=False)
class Expire:
    """A timer that is due."""

    key: StreamKey
    timer: str
    started_at: int = field(default_factory=time.time_ns)

    def expects(self, batch: Batch) -> Iterable[StreamKey]:
        """The stream it belongs to."""
        return [self.key]

    def apply(self, batch: Batch) -> None:
        """Ask the stream what follows, if the timer is still set, still wanted, and due."""
        columns = tables.timer.c
        row = batch.connection.execute(
            select(columns.due_at).where(columns.stream == str(self.key), columns.name == self.timer)
        ).one_or_none()
        if row is None or row.due_at > to_micros(batch.now):
            return
        live = batch.stream(self.key)
        live.timers = {**live.timers, self.timer: from_micros(row.due_at)}
        due = live.rules.timers(live.state).get(self.timer)
        if due is None or due > batch.now:
            # An earlier unit of this batch made it void, or other rules did: the stored timer follows.
            live.changed = True
            return
        crash_point("timer-due")
        (cause,) = live.last_cause
        scope = batch.scope_after(cause, self.key)
        facts = live.rules.expire(live.state, self.timer, scope)
        batch.append(live, facts, live.last_cause, scope.new_id, None, self.started_at)

    def fail(self, batch: Batch, error: Exception) -> object:
        """The timer stays, and is tried again."""
        raise error


@dataclass(eq=False)
class Relearn(Absorb):
    """One record from the topic after a restore: this deployment's own word as well.

    What others said and cannot be taken in is left to the consumer, which comes by it again, and so is what follows of
    its case.
    """

    left_behind: Collection[str] = ()
    """Cases of which something was left before."""
    before: Sequence["Relearn"] = ()
    """The records of its case that are learned just before it: together with it, or in parts, or once more."""
    told: Collection[tuple[str, str]] = ()
    """(case, event) that own words on the topic name as causes: these were taken in the first time."""
    is_left: bool = False

    @property
    def case_id(self) -> str:
        """Empty where it names none."""
        return self.item.case_id if isinstance(self.item, Undecodable) else self.item.record.case_id

    def expects(self, batch: Batch) -> Iterable[StreamKey]:
        """The streams it concerns, beginning with its own one where this deployment said it."""
        record = self.record
        if record is None:
            return ()
        keys = batch.subsystem.concerned(record)
        if record.origin == batch.subsystem.origin:
            kind, _, name = record.stream.partition("/")
            own = StreamKey(kind, name, record.case_id)
            keys = [own, *(key for key in keys if str(key) != record.stream)]
        self._expected = keys
        return self._expected

    def apply(self, batch: Batch) -> None:
        """Take it in, unless it is known, or must be left behind."""
        record, keys, self.is_left = self.record, self._expected, False
        if record is None:
            self.is_left = not self._was_given_up(batch)
        elif batch.knows(record) or (record.fact is not None and not keys):
            return
        elif record.origin == batch.subsystem.origin:
            batch.remember_request(record.event_id)
            batch.take_in(record, keys, self.started_at)
        else:
            self._hear(batch, record)

    def fail(self, batch: Batch, error: Exception) -> None:
        """An own word is set aside: the consumer passes over it. What others say of its case waits, too."""
        self.is_left = True
        if self.record is None or self.record.origin == batch.subsystem.origin:
            super().fail(batch, error)

    def _was_given_up(self, batch: Batch) -> bool:
        """What cannot be read, and was set aside before, where it waits no more."""
        row = self._row("")
        here = row["event_id"], row["origin"], row["digest"]
        batch.load_parked(filter(None, [self.case_id]))
        waits = any((each.event_id, each.origin, each.digest) == here for each in self._waiting(batch))
        return here in batch.set_aside.get(self.case_id, ()) and not waits

    def _waiting(self, batch: Batch) -> Sequence[Waiting]:
        return waiting_of(batch.connection, self.case_id) if self.case_id in batch.parked_cases else ()

    def _hear(self, batch: Batch, record: Record) -> None:
        """Of a case in which something waits that comes next, and what came in the first time as own words tell."""
        waiting = self._waiting(batch)
        here = record.event_id, record.origin, hashlib.sha256(record.body).digest()
        is_here = [row.id for row in waiting if (row.event_id, row.origin, row.digest) == here]
        if not is_here and batch.was_set_aside(record):
            return  # it was given up
        is_behind = record.case_id in self.left_behind or any(each.is_left for each in self.before)
        is_next = not is_behind and is_here == [row.id for row in waiting[:1]]
        is_told = (record.case_id, record.event_id) in self.told
        if not (is_next or is_told) or objection(batch, record, self._expected):
            self.is_left = True
            return
        batch.take_in(record, self._expected, self.started_at)
        if is_here:
            settle(batch, is_here, discarded=False)


@dataclass(eq=False)
class OpenSession:
    """A session takes an inbox over."""

    receiver: str
    session: str
    epoch: int

    def expects(self, batch: Batch) -> Iterable[StreamKey]:
        """No stream."""
        return ()

    def apply(self, batch: Batch) -> bool:
        """Do it; whether the epoch is a later one."""
        return batch.open_session(self.receiver, self.session, self.epoch)

    def fail(self, batch: Batch, error: Exception) -> object:
        """The receiver gets the error."""
        raise error


@dataclass(eq=False)
class Acknowledge:
    """What a receiver says about items of its inbox."""

    said: Acknowledgement

    def expects(self, batch: Batch) -> Iterable[StreamKey]:
        """No stream."""
        return ()

    def apply(self, batch: Batch) -> None:
        """Take it, where the session is the live one."""
        batch.acknowledge(self.said)

    def fail(self, batch: Batch, error: Exception) -> object:
        """The receiver gets the error."""
        raise error


@dataclass(eq=False)
class Change(Generic[T]):
    """Any other change, in the same transaction. It must find out whether it can be done before it writes."""

    change: Callable[[Connection], T]

    def expects(self, batch: Batch) -> Iterable[StreamKey]:
        """No stream."""
        return ()

    def apply(self, batch: Batch) -> T:
        """Do it."""
        return self.change(batch.connection)

    def fail(self, batch: Batch, error: Exception) -> object:
        """The caller gets the error."""
        raise error
