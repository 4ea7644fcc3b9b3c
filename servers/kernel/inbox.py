"""Inboxes: what waits for one receiver, who may acknowledge it, and in which order it is given."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, select, update

from bridge.record import Record
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2
from ronghe.inbox.v1 import inbox_service_pb2 as pb
from servers.kernel import tables
from servers.kernel.journal import COLUMNS, to_record
from servers.kernel.stream import Refused
from servers.kernel.times import set_micros, to_micros
from servers.rpc.fitting import fitting

# Rows without their records, from which the first of each case is looked for.
READ_AT_ONCE = 1_000
_WAITS = tables.inbox.c.acknowledged_at.is_(None)


@dataclass(frozen=True, slots=True)
class Item:
    """A row of an inbox, with its record. Times in microseconds since 1970."""

    sequence: int
    since: int
    not_before: int
    record: Record

    def size(self) -> int:
        """Bytes that most of its message consists of."""
        return len(self.record.body)

    def to_message(self) -> pb.InboxItem:
        """As the contract has it."""
        item = pb.InboxItem(sequence=self.sequence, position=self.record.position)
        set_micros(item.since, self.since)
        _fill(item.event, self.record)
        return item


def to_event(record: Record) -> event_pb2.Event:
    """The contract's event of a record; the fact's bytes as they are."""
    event = event_pb2.Event()
    _fill(event, record)
    return event


def _fill(event: event_pb2.Event, record: Record) -> None:
    """Field by field, which is twice as fast as to make parts and to copy them."""
    event.id = record.event_id
    event.origin = record.origin
    event.case_id = record.case_id
    event.stream = record.stream
    event.version = record.version
    event.causes.extend(record.causes)
    set_micros(event.recorded_at, to_micros(record.recorded_at))
    event.fact.type_url = f"type.googleapis.com/{record.type}"
    event.fact.value = record.body


def waiting(
    connection: Connection, receiver: str, after: int, limit: int, *only: ColumnElement[bool]
) -> Iterator[Item]:
    """Unacknowledged items after a sequence, in order; only those for which the conditions hold."""
    statement = _items(receiver, limit).where(tables.inbox.c.sequence > after, _WAITS, *only)
    if not only:  # those of a case have a better index
        statement = among_waiting(statement)
    return map(_item, connection.execute(statement))


def replayed(
    connection: Connection, receiver: str, after: int, limit: int, *only: ColumnElement[bool]
) -> Iterator[Item]:
    """All items after a sequence, acknowledged or not, in order; only those for which the conditions hold."""
    statement = _items(receiver, limit).where(tables.inbox.c.sequence > after, *only)
    return map(_item, connection.execute(statement))


def of_case(case_id: str, last: int) -> Sequence[ColumnElement[bool]]:
    """The conditions of a case's items up to a sequence."""
    return tables.inbox.c.case_id == case_id, tables.inbox.c.sequence <= last


def first_of_each_case(connection: Connection, receiver: str, now: int, limit: int) -> Sequence[Item]:
    """What may be given now in one message: for each case its first unacknowledged item, unless that was put off."""
    due = (row.sequence for row in _first_of_each_case(connection, receiver) if row.not_before <= now)
    statement = _items(receiver, limit).where(tables.inbox.c.sequence.in_(list(islice(due, limit))))
    return list(fitting(map(_item, connection.execute(statement)), Item.size))


def is_empty(connection: Connection, receiver: str) -> bool:
    """Whether nothing waits, what was put off included."""
    columns = tables.inbox.c
    statement = among_waiting(select(columns.sequence)).where(columns.receiver == receiver, _WAITS).limit(1)
    return connection.scalar(statement) is None


def _first_of_each_case(connection: Connection, receiver: str) -> Iterator[Row[Any]]:
    """(sequence, not_before), in order, read on as they are taken: a message needs few of what may wait for a year."""
    columns, cases, after = tables.inbox.c, set(), 0
    statement = (
        among_waiting(select(columns.sequence, columns.case_id, columns.not_before))
        .where(columns.receiver == receiver, _WAITS)
        .order_by(columns.sequence)
        .limit(READ_AT_ONCE)
    )
    while rows := connection.execute(statement.where(columns.sequence > after)).all():
        for row in rows:
            if row.case_id not in cases:
                cases.add(row.case_id)
                yield row
        after = rows[-1].sequence


def among_waiting(statement: Select[Any]) -> Select[Any]:
    """The statement, of unacknowledged items by their sequence, by the index that has only those.

    SQLite would take the primary key, and walk all that was ever acknowledged.
    """
    return statement.with_hint(tables.inbox, "INDEXED BY inbox_waiting", dialect_name="sqlite")


def named(connection: Connection, receiver: str, sequences: Sequence[int]) -> Sequence[Item]:
    """Items by their sequences."""
    statement = _items(receiver, len(sequences)).where(tables.inbox.c.sequence.in_(sequences))
    return [_item(row) for row in connection.execute(statement)]


def session_of(connection: Connection, receiver: str) -> str:
    """The live session; empty while there is none."""
    return connection.scalar(select(tables.receiver.c.session).where(tables.receiver.c.name == receiver)) or ""


def receivers(connection: Connection, names: Sequence[str]) -> Mapping[str, tuple[str, int]]:
    """The live session of each, and the last sequence in its inbox."""
    columns = tables.receiver.c
    statement = select(columns.name, columns.session, columns.last_sequence).where(columns.name.in_(names))
    return {row.name: (row.session, row.last_sequence) for row in connection.execute(statement)}


def void_acknowledgements(connection: Connection, receiver: str, first: int, following: int) -> None:
    """Let items from the first sequence on, up to the following ones, wait again."""
    columns = tables.inbox.c
    acknowledged = (columns.receiver == receiver, columns.acknowledged_at.is_not(None))
    statement = update(tables.inbox).where(*acknowledged, columns.sequence >= first, columns.sequence < following)
    connection.execute(statement.values(acknowledged_at=None))


@dataclass(slots=True)
class Receiver:
    """How far an inbox is, and which session has it."""

    last_sequence: int = 0
    session: str = ""
    epoch: int = 0
    """Of its own record: what it acknowledged in an earlier one it has lost."""
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What one session says about items: durable at the receiver, or put off until a time."""

    receiver: str
    session: str
    sequences: Sequence[int]
    put_off: Sequence[tuple[int, int]]
    """(sequence, microseconds since 1970)"""

    def check(self, receiver: Receiver) -> None:
        """Raise Refused unless the session is the live one, and was sent all of them."""
        if receiver.session != self.session:
            raise taken_over(self.receiver)
        said, last = [*self.sequences, *(sequence for sequence, _ in self.put_off)], receiver.last_sequence
        wrong = next((sequence for sequence in said if not 0 < sequence <= last), None)
        if wrong is not None:
            raise Refused(
                Reason.REASON_SEQUENCE_NEVER_SENT,
                f"sequence {wrong} was never sent to {self.receiver}, the last one is {last}: acknowledge what you got",
                {"sequence": str(wrong)},
            )


def taken_over(receiver: str) -> Refused:
    """The session is no longer the live one."""
    return Refused(
        Reason.REASON_SESSION_TAKEN_OVER,
        f"a newer session of {receiver} has taken over: one session per receiver is live",
    )


def _items(receiver: str, limit: int) -> Select[Any]:
    inbox = tables.inbox
    return (
        select(inbox.c.sequence, inbox.c.since, inbox.c.not_before, *COLUMNS)
        .join(tables.journal, tables.journal.c.position == inbox.c.position)
        .where(inbox.c.receiver == receiver)
        .order_by(inbox.c.sequence)
        .limit(limit)
    )


def _item(row: Row[Any]) -> Item:
    return Item(row.sequence, row.since, row.not_before, to_record(row, parse=False))
