"""Each journal is whole: positions without gaps, the hash chain recomputed from the documented format."""

import hashlib
from collections.abc import Iterator

from faults.checker.history import History, Journal, Kind, Problem, Row


def check(history: History) -> Iterator[Problem]:
    """The first broken place of every journal."""
    for journal in history.journals.values():
        yield from _walk(journal)


def _walk(journal: Journal) -> Iterator[Problem]:
    previous, position = bytes(32), 0
    for row in journal.rows:
        fault = _fault(row, position, previous)
        if fault:
            yield Problem(Kind.ALTERED, journal.subsystem, f"row {row.position}: {fault}", row.event.case_id)
            return
        previous, position = row.hash, row.position
    if journal.head != (position, previous):
        yield Problem(Kind.LOST, journal.subsystem, f"the head names row {journal.head[0]}, the last is {position}")


def _fault(row: Row, before: int, previous: bytes) -> str:
    if row.position != before + 1:
        return f"comes after row {before}"
    if hashlib.sha256(row.event.body).digest() != row.body_digest:
        return "the body is another than its digest says"
    return "" if chained(row, previous) == row.hash else "does not continue the chain"


def chained(row: Row, previous: bytes) -> bytes:
    """SHA-256 over the hash before, the row's envelope, and the digest of its body."""
    event = row.event
    envelope = (
        row.epoch, row.position, event.id, event.origin, event.case_id, event.stream, event.version,
        ",".join(event.causes), event.type, event.recorded_at, row.taken_at, row.arrival, row.call, "",
    )  # fmt: skip
    return hashlib.sha256(previous + "|".join(map(str, envelope)).encode() + row.body_digest).digest()
