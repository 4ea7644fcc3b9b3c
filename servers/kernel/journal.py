"""The journal: append-only rows in a hash chain. It is the record, the outbox and the audit trail."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from google.protobuf.message import DecodeError, Message
from sqlalchemy import Connection, Row, select

from bridge.record import Arrival, Record, parse_fact
from servers.kernel import tables
from servers.kernel.times import from_micros, to_micros

GENESIS = bytes(32)
COLUMNS = [column for column in tables.journal.columns if column.name not in ("body_digest", "hash")]


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place where a journal is not whole."""

    position: int
    description: str


def to_row(record: Record, *, epoch: int, taken_at: int, call: str | None, previous: bytes) -> dict[str, Any]:
    """The row of a record, chained to the row before it."""
    row = {
        "position": record.position,
        "epoch": epoch,
        "event_id": str(record.event_id),
        "origin": record.origin,
        "case_id": record.case_id,
        "stream": record.stream,
        "version": record.version,
        "causes": ",".join(map(str, record.causes)),
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


def chained(row: dict[str, Any], previous: bytes) -> bytes:
    """SHA-256 over the previous row's hash and this row. The body counts by its digest, so it can be sealed later."""
    text = (
        f"{row['epoch']}|{row['position']}|{row['event_id']}|{row['origin']}|{row['case_id']}|{row['stream']}"
        f"|{row['version']}|{row['causes']}|{row['type']}|{row['recorded_at']}|{row['taken_at']}|{row['arrival']}"
        f"|{row['call']}|"
    )
    return hashlib.sha256(previous + text.encode() + row["body_digest"]).digest()


def to_record(row: Row[Any], *, parse: bool = True) -> Record:
    """The record of a row selected by `COLUMNS`; without its fact where only the bytes are wanted."""
    return Record(
        event_id=UUID(row.event_id),
        origin=row.origin,
        case_id=row.case_id,
        stream=row.stream,
        version=row.version,
        causes=tuple(UUID(cause) for cause in row.causes.split(",") if cause),
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


def known(connection: Connection, event_ids: Sequence[UUID]) -> set[tuple[str, str]]:
    """Id and origin of those events that are here."""
    columns = tables.journal.c
    statement = select(columns.event_id, columns.origin).where(columns.event_id.in_([str(each) for each in event_ids]))
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


def verify(connection: Connection, after: int, limit: int) -> tuple[int, int, Fault | None]:
    """Walk the chain from the row after `after`: gives the last position walked, the rows, and the first fault."""
    journal = tables.journal
    previous = connection.scalar(select(journal.c.hash).where(journal.c.position == after)) if after else GENESIS
    if previous is None:
        return after, 0, Fault(after, "there is no such row to resume from")
    position = after
    rows = connection.execute(
        select(journal).where(journal.c.position > after).order_by(journal.c.position).limit(limit)
    ).mappings()
    count = 0
    for row in rows:
        fault = _fault_of(dict(row), position, previous)
        if fault:
            return position, count, fault
        position, previous, count = row["position"], row["hash"], count + 1
    return position, count, None


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


def _fault_of(row: dict[str, Any], before: int, previous: bytes) -> Fault | None:
    if row["position"] != before + 1:
        return Fault(before + 1, f"the row after {before} is {row['position']}")
    if hashlib.sha256(row["body"]).digest() != row["body_digest"]:
        return Fault(row["position"], "the body is not the one that was recorded")
    if chained(row, previous) != row["hash"]:
        return Fault(row["position"], "the row does not continue the chain")
    return None
