"""Each journal is whole: positions without gaps, the chain recomputed as documented, the rows those of its heads."""

import hashlib
from collections.abc import Iterator

from faults.checker.history import History, Journal, Kind, Problem, Row


def check(history: History) -> Iterator[Problem]:
    """The first broken place of every journal, and heads that do not name a row of their origin's."""
    for journal in history.journals.values():
        yield from _walk(journal)
        yield from _heads(history, journal)


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


def _heads(history: History, holder: Journal) -> Iterator[Problem]:
    for event in holder.events.values():
        journal = history.journals.get(event.origin.partition("-")[0]) if event.is_head else None
        if journal is None or event.id in history.poison:
            continue
        fits = journal.hashes.get(event.fact.position) == event.fact.hash
        if not fits and not _was_replaced(journal, event.fact.epoch, event.fact.position):
            what = f"row {event.fact.position} is not the one of the head that {holder.subsystem} holds"
            yield Problem(Kind.ALTERED, journal.subsystem, what)


def _was_replaced(journal: Journal, epoch: int, position: int) -> bool:
    """Whether a restore did not bring the row back: a later epoch begins there, or before it."""
    return any(row.epoch > epoch and row.position <= position for row in journal.rows)


def _fault(row: Row, before: int, previous: bytes) -> str:
    if row.position != before + 1:
        return f"comes after row {before}"
    if hashlib.sha256(row.event.body).digest() != row.body_digest:
        return "the body is another than its digest says"
    return "" if chained(row, previous) == row.hash else "does not continue the chain"


def chained(row: Row, previous: bytes) -> bytes:
    """SHA-256 over the hash before, the row's numbers, its texts behind their lengths, and the digest of its body."""
    event = row.event
    numbers = (row.epoch, row.position, event.version, event.recorded_at, row.taken_at, row.arrival)
    texts = (event.id, event.origin, event.case_id, event.stream, ",".join(event.causes), event.type, row.call)
    encoded = [None if text is None else text.encode() for text in texts]
    framed = b"".join(number.to_bytes(8, signed=True) for number in numbers)
    framed += b"".join(b"\xff" * 4 if text is None else len(text).to_bytes(4) for text in encoded)
    return hashlib.sha256(previous + framed + b"".join(filter(None, encoded)) + row.body_digest).digest()
