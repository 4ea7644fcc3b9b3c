"""A case's timeline, and where each of its events is, from the journal and the inboxes of one subsystem."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Connection, func, select

from bridge.record import Arrival, Record
from clients.redaction import redacted
from ronghe.case.v1 import case_service_pb2 as pb
from servers.kernel import tables
from servers.kernel.journal import COLUMNS, to_record
from servers.kernel.times import to_timestamp


def entries(
    connection: Connection, case_id: str, after: int, limit: int, hidden: Collection[str]
) -> Iterator[pb.TimelineEntry]:
    """The events of a case behind a position, in the order in which they were recorded here; `hidden` types are not.

    They are made as they are taken: a page holds fewer of those that are large.
    """
    journal = tables.journal
    statement = (
        select(*COLUMNS)
        .where(journal.c.case_id == case_id, journal.c.position > after, journal.c.type.not_in(hidden))
        .order_by(journal.c.position)
        .limit(limit)
    )
    return (_entry(to_record(row), row.taken_at) for row in connection.execute(statement))


def _entry(record: Record, taken_at: int) -> pb.TimelineEntry:
    entry = pb.TimelineEntry(
        position=record.position,
        event_id=record.event_id,
        origin=record.origin,
        stream=record.stream,
        version=record.version,
        causes=record.causes,
        type=record.type.rpartition(".")[2],
        recorded_at=to_timestamp(taken_at),
    )
    if record.fact is not None:
        occurred_at: Timestamp = record.fact.occurred_at  # type: ignore[attr-defined] # every fact has it
        entry.occurred_at.CopyFrom(occurred_at)
        entry.fact.Pack(redacted(record.fact))
    return entry


def location(
    connection: Connection, origin: str, case_id: str, relayed_to: int | None, hidden: Collection[str]
) -> pb.LocateCaseResponse:
    """Where each event of the case is, but for `hidden` types; `relayed_to` is None where this one does not publish."""
    deliveries = _deliveries(connection, case_id)
    journal = tables.journal
    rows = connection.execute(
        select(journal.c.position, journal.c.event_id, journal.c.origin, journal.c.type, journal.c.taken_at,
               journal.c.arrival)
        .where(journal.c.case_id == case_id, journal.c.type.not_in(hidden))
        .order_by(journal.c.position)
    )  # fmt: skip
    events = [
        pb.EventLocation(
            event_id=row.event_id,
            event_origin=row.origin,
            type=row.type.rpartition(".")[2],
            position=row.position,
            recorded_at=to_timestamp(row.taken_at),
            arrival=row.arrival,
            relay=_relay(row.position, row.arrival, relayed_to),
            deliveries=deliveries[row.position],
        )
        for row in rows
    ]
    return pb.LocateCaseResponse(origin=origin, events=events, parked=_parked(connection, case_id))


def _relay(position: int, arrival: int, relayed_to: int | None) -> "pb.EventLocation.Relay.ValueType":
    if relayed_to is None or arrival == Arrival.KAFKA:
        return pb.EventLocation.RELAY_NOT_DUE
    return pb.EventLocation.RELAY_DONE if position <= relayed_to else pb.EventLocation.RELAY_WAITING


def _deliveries(connection: Connection, case_id: str) -> Mapping[int, list[pb.Delivery]]:
    found: dict[int, list[pb.Delivery]] = defaultdict(list)
    statement = select(tables.inbox).where(tables.inbox.c.case_id == case_id).order_by(tables.inbox.c.receiver)
    for row in connection.execute(statement):
        found[row.position].append(_delivery(row))
    return found


def _delivery(row: Any) -> pb.Delivery:
    delivery = pb.Delivery(receiver=row.receiver, sequence=row.sequence, since=to_timestamp(row.since))
    if row.acknowledged_at is not None:
        delivery.acknowledged_at.CopyFrom(to_timestamp(row.acknowledged_at))
    return delivery


def _parked(connection: Connection, case_id: str) -> int:
    columns = tables.dead_letter.c
    statement = select(func.count()).where(columns.case_id == case_id, columns.settled_at.is_(None))
    return connection.scalar(statement) or 0
