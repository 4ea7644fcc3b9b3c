"""Dead letters: what was set aside is found, taken in again, or given up."""

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from bridge.ports import Arrived, Undecodable
from clients.redaction import redacted
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel import tables
from servers.kernel.batch import Batch
from servers.kernel.database import DATABASE_ERRORS
from servers.kernel.late import JOURNAL, meet
from servers.kernel.parking import Impossible, from_row, problem_of, raise_objection, settle, waiting_of
from servers.kernel.stream import Refused
from servers.kernel.times import to_timestamp

letters = tables.dead_letter
SIZE = func.length(letters.c.body).label("size")
LISTED = [*(column for column in letters.columns if column.name != "body"), SIZE]
# Of a text that someone wrote into an envelope.
MOST_SHOWN = 200
VERSION = re.compile("[0-9]{1,18}")


# --- finding ---


def find(connection: Connection, dead_letter_id: int) -> Row[Any]:
    """One of them; raises Refused."""
    row = connection.execute(select(letters, SIZE).where(letters.c.id == dead_letter_id)).one_or_none()
    if row is None:
        raise Refused(Reason.REASON_DEAD_LETTER_NOT_FOUND, f"there is no dead letter {dead_letter_id} here")
    return row


def page(connection: Connection, case_id: str, after: int, limit: int, *, settled: bool) -> Sequence[pb.DeadLetter]:
    """Those behind an id, in order; the size instead of the body."""
    statement = select(*LISTED).where(letters.c.id > after).order_by(letters.c.id).limit(limit)
    if case_id:
        statement = statement.where(letters.c.case_id == case_id)
    if not settled:
        statement = statement.where(letters.c.settled_at.is_(None))
    return [_listed(row) for row in connection.execute(statement)]


def shown(connection: Connection, dead_letter_id: int) -> pb.GetDeadLetterResponse:
    """One of them, its fact without personal data; raises Refused."""
    row = find(connection, dead_letter_id)
    envelope: dict[str, str] = json.loads(row.headers)
    response = pb.GetDeadLetterResponse(dead_letter=_listed(row))
    response.causes.extend(_cut(cause) for cause in envelope.get("ce_causes", "").split(",") if cause)
    item = from_row(row)
    if isinstance(item, Arrived):
        response.recorded_at.FromDatetime(item.record.recorded_at)
        if item.record.fact is not None:
            fact = redacted(item.record.fact)
            # What this version does not know may be personal.
            fact.DiscardUnknownFields()
            response.fact.Pack(fact)
    return response


def count(connection: Connection, status: pb.GetBridgeStatusResponse) -> None:
    """How many wait, of how many cases, since when."""
    columns = letters.c
    row = connection.execute(
        select(
            func.count().label("parked"),
            func.count(func.nullif(columns.case_id, "").distinct()).label("cases"),
            func.min(columns.parked_at).label("oldest"),
        ).where(columns.settled_at.is_(None))
    ).one()
    status.parked, status.parked_cases = row.parked, row.cases
    if row.oldest is not None:
        status.oldest_parked.CopyFrom(to_timestamp(row.oldest))


def _listed(row: Row[Any]) -> pb.DeadLetter:
    envelope: dict[str, str] = json.loads(row.headers)
    version = envelope.get("ce_streamversion", "")
    letter = pb.DeadLetter(
        dead_letter_id=row.id,
        source=row.source.partition("#")[0],  # which record of this place it is stands behind
        case_id=row.case_id,
        event_id=_cut(row.event_id),
        origin=_cut(row.origin),
        type=_cut(row.type),
        stream=_cut(envelope.get("ce_subject", "")),
        version=int(version) if VERSION.fullmatch(version) else 0,
        problem=_cut(row.problem),
        parked_at=to_timestamp(row.parked_at),
        state=_state(row),
        size=row.size,
        digest=row.digest,
    )
    if row.settled_at is not None:
        letter.settled_at.CopyFrom(to_timestamp(row.settled_at))
    return letter


def _state(row: Row[Any]) -> "pb.DeadLetter.State.ValueType":
    if row.settled_at is None:
        return pb.DeadLetter.STATE_WAITING
    return pb.DeadLetter.STATE_DISCARDED if row.discarded else pb.DeadLetter.STATE_REDRIVEN


def _cut(text: str) -> str:
    return text[:MOST_SHOWN]


def _waiting(connection: Connection, dead_letter_id: int) -> Row[Any]:
    row = find(connection, dead_letter_id)
    if row.settled_at is not None:
        state = "discarded" if row.discarded else "redriven"
        raise Refused(
            Reason.REASON_DEAD_LETTER_SETTLED, f"dead letter {dead_letter_id} was {state} before", {"state": state}
        )
    return row


def _of_its_case(connection: Connection, row: Row[Any]) -> Sequence[int]:
    """All that waits of its case, in order; one that names no case stands alone."""
    if not row.case_id:
        return [row.id]
    return [each.id for each in waiting_of(connection, row.case_id)]


# --- redriving and discarding ---


def redrive(batch: Batch, request: pb.RedriveDeadLetterRequest) -> pb.RedriveDeadLetterResponse:
    """Take in all that waits of its case, in order; raises Refused with the first that fails."""
    row = _waiting(batch.connection, request.dead_letter_id)
    ids = _of_its_case(batch.connection, row)
    taken_in = sum(_again(batch, find(batch.connection, each)) for each in ids)
    settle(batch, ids, discarded=False)
    batch.parked_cases.discard(row.case_id)
    return pb.RedriveDeadLetterResponse(case_id=row.case_id, dead_letter_ids=ids, taken_in=taken_in)


def discard(batch: Batch, request: pb.DiscardDeadLetterRequest) -> pb.DiscardDeadLetterResponse:
    """Give one up; what waits behind it goes on waiting, unless there is nothing."""
    row = _waiting(batch.connection, request.dead_letter_id)
    waiting = [each for each in _of_its_case(batch.connection, row) if each != row.id]
    settle(batch, [row.id], discarded=True)
    if not waiting:
        batch.parked_cases.discard(row.case_id)
    return pb.DiscardDeadLetterResponse(case_id=row.case_id, waiting=waiting)


def _again(batch: Batch, row: Row[Any]) -> bool:
    """Take one in that was set aside; False where it is here already, or concerns nobody here any more."""
    try:
        return _late(batch, row) if row.source.startswith(JOURNAL) else _anew(batch, row)
    except DATABASE_ERRORS:
        raise
    except Exception as error:
        raise _failed(row.id, problem_of(error)) from error


def _anew(batch: Batch, row: Row[Any]) -> bool:
    item = from_row(row)
    if isinstance(item, Undecodable):
        raise Impossible(item.error)
    record, keys = item.record, batch.subsystem.concerned(item.record)
    batch.load_events([record])
    if batch.knows(record) or (record.fact is not None and not keys):
        return False
    raise_objection(batch, record, keys)
    batch.take_in(record, keys, time.time_ns())
    return True


def _late(batch: Batch, row: Row[Any]) -> bool:
    meet(batch, int(row.source.removeprefix(JOURNAL)))
    return True


def not_redriven(request: pb.RedriveDeadLetterRequest, error: Exception) -> Exception:
    """What is told of a redrive that could be decided but not written."""
    return error if isinstance(error, Refused) else _failed(request.dead_letter_id, problem_of(error))


def _failed(dead_letter_id: int, problem: str) -> Refused:
    return Refused(
        Reason.REASON_REDRIVE_FAILED,
        f"dead letter {dead_letter_id} cannot be taken in, and nothing has changed: {problem}",
        {"dead_letter_id": str(dead_letter_id), "problem": problem},
    )
