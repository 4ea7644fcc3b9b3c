"""What is set aside, why, and how it is kept."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select, update

from bridge.cloudevents import decode, headers_of
from bridge.ports import Arrived, Undecodable
from bridge.record import Arrival, Record
from servers.kernel import tables
from servers.kernel.batch import MAX_EVENT_BYTES, Batch
from servers.kernel.stream import Refused, StreamKey
from servers.kernel.times import to_micros


class Impossible(Exception):
    """A record cannot be taken in; the text says why, without the record's contents."""


def problem_of(error: Exception) -> str:
    """Why a record was not taken in, without its contents."""
    if isinstance(error, Impossible | Refused):
        return str(error)
    return f"{type(error).__name__} while it was taken in"


def objection(batch: Batch, record: Record, keys: Sequence[StreamKey]) -> str:
    """Why a record cannot be taken in by these streams; empty where it can."""
    if len(record.body) > MAX_EVENT_BYTES:
        return f"it has {len(record.body)} bytes, at most {MAX_EVENT_BYTES} are allowed"
    for key in keys:
        live = batch.stream(key)
        if not live.rules.may_say(live.state, record):
            return f"{record.origin} may not say {record.type} about {key}"
    return ""


def raise_objection(batch: Batch, record: Record, keys: Sequence[StreamKey]) -> None:
    """Raises Impossible where the record cannot be taken in by these streams."""
    problem = objection(batch, record, keys)
    if problem:
        raise Impossible(problem)


# --- what waits ---


class Waiting(NamedTuple):
    """A record that was set aside, and was neither redriven nor given up."""

    id: int
    event_id: str
    origin: str
    digest: bytes


def waiting_of(connection: Connection, case_id: str) -> Sequence[Waiting]:
    """What waits of a case, in order."""
    columns = tables.dead_letter.c
    statement = select(columns.id, columns.event_id, columns.origin, columns.digest)
    waits = (columns.case_id == case_id) & columns.settled_at.is_(None)
    return [Waiting(*row) for row in connection.execute(statement.where(waits).order_by(columns.id))]


def settle(batch: Batch, ids: Sequence[int], *, discarded: bool) -> None:
    """Of these nothing waits any more."""
    letters = tables.dead_letter
    values = {"settled_at": to_micros(batch.now), "discarded": discarded}
    batch.connection.execute(update(letters).where(letters.c.id.in_(ids)).values(**values))


# --- a record as a row, and back ---


def to_row(item: Arrived | Undecodable, problem: str) -> dict[str, Any]:
    """The row of something that is set aside: its envelope as CloudEvents headers, wherever it came from."""
    if isinstance(item, Arrived):
        case_id, body, headers = item.record.case_id, item.record.body, _headers(headers_of(item.record))
    else:
        case_id, body, headers = item.case_id, item.value, _headers(item.headers)
    return {
        "source": item.source,
        "case_id": _storable(case_id),
        "event_id": _storable(headers.get("ce_id", "")),
        "origin": _storable(headers.get("ce_source", "")),
        "type": _storable(headers.get("ce_type", "")),
        "headers": json.dumps(headers),
        "body": body,
        "digest": hashlib.sha256(body).digest(),
        "problem": _storable(problem),
    }


def from_row(row: Row[Any]) -> Arrived | Undecodable:
    """What was set aside, read anew: this version may know more than the one that set it aside."""
    headers = {name: text.encode() for name, text in json.loads(row.headers).items()}
    # A message without a value was set aside with an empty one; a fact's bytes are never empty.
    found = decode(row.source, row.case_id.encode(), row.body or None, headers)
    if isinstance(found, Arrived) and row.source.startswith("inbox/"):
        return replace(found, record=found.record._replace(arrival=Arrival.INBOX))
    return found


def _headers(found: Mapping[str, bytes]) -> dict[str, str]:
    return {name: value.decode("utf-8", "backslashreplace") for name, value in found.items()}


def _storable(text: str) -> str:
    """PostgreSQL's texts cannot hold a NUL."""
    return text.replace("\0", "")
