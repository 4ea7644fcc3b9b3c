"""The journal: append-only rows in a hash chain. It is the record, the outbox and the audit trail."""

import hashlib
import sqlite3
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message
from sqlalchemy import Connection, Row, select, text
from sqlalchemy.exc import OperationalError

from bridge.record import Arrival, Record, parse_fact
from servers.kernel import tables
from servers.kernel.times import from_micros, to_micros

GENESIS = bytes(32)
NUMBERS = ("epoch", "position", "version", "recorded_at", "taken_at", "arrival")
TEXTS = ("event_id", "origin", "case_id", "stream", "causes", "type")
FRAME = struct.Struct(">6q7I")
NO_CALL = 2**32 - 1
NO_ROW = "the row holds what no row can hold"
WALKED = text("SELECT * FROM journal WHERE position > :after ORDER BY position LIMIT :limit")
COLUMNS = [column for column in tables.journal.columns if column.name not in ("body_digest", "hash")]


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place where a journal is not whole."""

    position: int
    description: str
    to_position: int = 0
    """The end of the stretch in which it lies, where no more is known; otherwise 0."""


class Restored(NamedTuple):
    """The first row of an epoch that began when a backup was put back."""

    position: int
    epoch: int
    at: int
    """Microseconds since 1970."""


@dataclass(slots=True)
class Walk:
    """A stretch of a journal, walked."""

    position: int
    """The last row that was walked."""
    rows: int = 0
    fault: Fault | None = None
    restored: list[Restored] = field(default_factory=list)


def to_row(record: Record, *, epoch: int, taken_at: int, call: str | None, previous: bytes) -> dict[str, Any]:
    """The row of a record, chained to the row before it."""
    row = {
        "position": record.position,
        "epoch": epoch,
        "event_id": record.event_id,
        "origin": record.origin,
        "case_id": record.case_id,
        "stream": record.stream,
        "version": record.version,
        "causes": ",".join(record.causes),
        "type": record.type,
        "body": record.body,
        "body_digest": hashlib.sha256(record.body).digest(),
        "recorded_at": to_micros(record.recorded_at),
        "taken_at": taken_at,
        "arrival": int(record.arrival),
        "call": call,
    }
    row["hash"] = chained(row, previous)
    return row


def chained(row: Mapping[str, Any], previous: bytes) -> bytes:
    """The row's hash: SHA-256 over the hash of the row before, and this row, in an encoding that no other row has.

    Numbers as 8 bytes each (epoch, position, version, recorded_at, taken_at, arrival), the texts' lengths in bytes as 4
    each (event_id, origin, case_id, stream, causes, type, call), both big-endian; the texts themselves, in UTF-8; the
    body's SHA-256, so that the body can be sealed later. The length of a call that is not there is 2**32 - 1.
    """
    texts = [row[name].encode() for name in TEXTS]
    call = row["call"]
    lengths = (*map(len, texts), NO_CALL if call is None else len(call.encode()))
    head = FRAME.pack(*(row[name] for name in NUMBERS), *lengths)
    return hashlib.sha256(b"".join((previous, head, *texts, (call or "").encode(), row["body_digest"]))).digest()


def to_record(row: Row[Any], *, parse: bool = True) -> Record:
    """The record of a row selected by `COLUMNS`; without its fact where only the bytes are wanted."""
    return Record(
        event_id=row.event_id,
        origin=row.origin,
        case_id=row.case_id,
        stream=row.stream,
        version=row.version,
        causes=tuple(filter(None, row.causes.split(","))),
        recorded_at=from_micros(row.recorded_at),
        type=row.type,
        body=row.body,
        fact=_fact(row) if parse else None,
        arrival=Arrival(row.arrival),
        position=row.position,
    )


def _fact(row: Row[Any]) -> Message | None:
    try:
        return parse_fact(row.type, row.body)
    except DecodeError:
        return None  # it came before its type was known, and is none of that type


def of_case(connection: Connection, case_id: str) -> Sequence[Record]:
    """Every record of a case, in order."""
    statement = select(*COLUMNS).where(tables.journal.c.case_id == case_id).order_by(tables.journal.c.position)
    return [to_record(row) for row in connection.execute(statement)]


def known(connection: Connection, event_ids: Sequence[str]) -> set[tuple[str, str]]:
    """Id and origin of those events that are here."""
    columns = tables.journal.c
    statement = select(columns.event_id, columns.origin).where(columns.event_id.in_(event_ids))
    return {(row.event_id, row.origin) for row in connection.execute(statement)}


def in_order_of_taking(connection: Connection, case_id: str, records: Sequence[Record]) -> list[Record]:
    """A case's records in the order in which its streams took them in.

    One whose type was not known when it came was taken in later, or was not yet.
    """
    columns = tables.raw_fact.c
    rows = connection.execute(select(columns.position, columns.met_after).where(columns.case_id == case_id))
    met: dict[int, int | None] = {row.position: row.met_after for row in rows}

    def place(record: Record) -> tuple[int, bool, int]:
        return met.get(record.position) or record.position, record.position in met, record.position

    return sorted((record for record in records if met.get(record.position, 1) is not None), key=place)


def at_positions(connection: Connection, positions: Sequence[int]) -> Sequence[Record]:
    """The records at these positions, in order."""
    statement = select(*COLUMNS).where(tables.journal.c.position.in_(positions)).order_by(tables.journal.c.position)
    return [to_record(row) for row in connection.execute(statement)]


def unpublished(connection: Connection, after: int, limit: int) -> tuple[Sequence[Record], int]:
    """Rows this subsystem publishes behind a position, and up to where the journal was looked through.

    They are its own, and those that arrived by an inbox; those from Kafka are there already.
    """
    journal = tables.journal
    head = connection.scalar(select(tables.journal_head.c.position)) or 0
    statement = (
        select(*COLUMNS)
        .where(journal.c.position > after, journal.c.arrival != int(Arrival.KAFKA))
        .order_by(journal.c.position)
        .limit(limit)
    )
    records = [to_record(row, parse=False) for row in connection.execute(statement)]
    return records, records[-1].position if len(records) == limit else head


def verify(connection: Connection, after: int, limit: int) -> Walk:
    """Walk the chain from the row after `after`, up to the first fault."""
    journal = tables.journal
    before = connection.execute(
        select(journal.c.hash, journal.c.epoch).where(journal.c.position == after)
    ).one_or_none()
    if before is None and after:
        return Walk(after, fault=Fault(after, "there is no such row to resume from"))
    previous, epoch = (before.hash, before.epoch) if before else (GENESIS, None)
    walk = Walk(after)
    # As they lie there: what somebody has put into a column need not be of its type.
    rows = connection.execute(WALKED, {"after": after, "limit": limit}).mappings()
    try:
        for row in rows:
            walk.fault = _fault_of(dict(row), walk.position, previous, epoch)
            if walk.fault:
                return walk
            if epoch is not None and row["epoch"] != epoch:
                walk.restored.append(Restored(row["position"], row["epoch"], row["taken_at"]))
            previous, epoch = row["hash"], row["epoch"]
            walk.position, walk.rows = row["position"], walk.rows + 1
    except OperationalError as error:
        if not _is_of_no_text(error):
            raise
        walk.fault = Fault(walk.position + 1, NO_ROW)
    return walk


def _is_of_no_text(error: OperationalError) -> bool:
    """Whether SQLite's driver met a text that is not UTF-8: what SQLite itself says has a code."""
    return isinstance(error.orig, sqlite3.Error) and getattr(error.orig, "sqlite_errorcode", None) is None


def verify_head(connection: Connection) -> Fault | None:
    """Whether the head names the last row: a removed tail shows here."""
    head = connection.execute(select(tables.journal_head)).one()
    journal = tables.journal
    last = connection.execute(
        select(journal.c.position, journal.c.hash).order_by(journal.c.position.desc()).limit(1)
    ).one_or_none()
    found = (last.position, last.hash) if last else (0, GENESIS)
    if (head.position, head.hash) != found:
        return Fault(found[0], f"the head names row {head.position}, the last row is {found[0]}")
    return None


def _fault_of(row: Mapping[str, Any], before: int, previous: bytes, epoch: int | None) -> Fault | None:
    if row["position"] != before + 1:
        return Fault(before + 1, f"the row after {before} is {row['position']}")
    try:
        if hashlib.sha256(row["body"]).digest() != row["body_digest"]:
            return Fault(row["position"], "the body is not the one that was recorded")
        if chained(row, previous) != row["hash"]:
            return Fault(row["position"], "the row does not continue the chain")
        if epoch is not None and row["epoch"] < epoch:
            return Fault(row["position"], "the row is of an earlier epoch than the one before")
    except (struct.error, TypeError, AttributeError, ValueError):  # SQLite's columns hold whatever is put there
        return Fault(row["position"], NO_ROW)
    return None
