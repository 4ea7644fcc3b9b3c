"""Whether a mesh still has something to do, counted by plain SQL: whole journals are too much to read at every look."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.checker.history import History
from faults.checker.journals import Select, opened, read
from faults.checker.routes import OUTCOMES
from faults.checker.settled import ARRIVED_BY_KAFKA
from faults.checker.settled import check as check_settled

FACTS = "ronghe.event.v1."
HEAD = f"{FACTS}JournalHead"


@dataclass(frozen=True, slots=True)
class Look:
    """What one subsystem's database says at one moment."""

    head: tuple[int, bytes]
    """Position and hash of its last row."""
    heads: frozenset[str]
    """Ids of the signed heads that it has, of whichever journal."""
    unacknowledged: int
    """Items in its inboxes."""
    unpublished: int
    """Rows behind its relay."""
    unended: int
    """Cases that it knows, and none of whose outcomes."""

    @property
    def waits(self) -> bool:
        """Whether something has yet to leave it."""
        return bool(self.unacknowledged or self.unpublished)


def look(database: Path | str, subsystem: str) -> Look:
    """At an SQLite file, or at a PostgreSQL URL."""
    with opened(database) as select:
        (head,) = select("SELECT position, hash FROM journal_head")
        return Look(
            head=(head["position"], bytes(head["hash"])),
            heads=frozenset(row["event_id"] for row in select("SELECT event_id FROM journal WHERE type = ?", HEAD)),
            unacknowledged=_count(select, "FROM inbox WHERE acknowledged_at IS NULL"),
            unpublished=0 if subsystem == "intake" else unpublished(select),
            unended=_unended(select),
        )


def unpublished(select: Select) -> int:
    """Rows behind the relay, but for those that came by Kafka."""
    cursors = select("SELECT value FROM cursor WHERE name = 'relay'")
    position = json.loads(cursors[0]["value"]).get("position", 0) if cursors else 0
    return _count(select, "FROM journal WHERE position > ? AND arrival <> ?", position, ARRIVED_BY_KAFKA)


def moves(sources: Mapping[str, Path | str]) -> bool:
    """Whether anything is under way between the subsystems, whose databases these are, or a case has not ended.

    Whole journals are read only where no count says so.
    """
    looks = [look(source, name) for name, source in sources.items()]
    if any(each.waits or each.unended or each.heads != looks[0].heads for each in looks):
        return True
    journals = {name: read(source, name) for name, source in sources.items()}
    return any(check_settled(History([], journals, [], [])))


def _unended(select: Select) -> int:
    ends = [f"{FACTS}{name}" for name in sorted(OUTCOMES)]
    ended = f"SELECT case_id FROM journal WHERE type IN ({', '.join('?' * len(ends))})"  # noqa: S608 - placeholders
    begun = "SELECT case_id FROM journal WHERE type = ?"
    return _count(select, f"FROM ({begun} EXCEPT {ended}) AS unended", f"{FACTS}Submitted", *ends)


def _count(select: Select, rows: str, *parameters: Any) -> int:
    (row,) = select(f"SELECT count(*) AS number {rows}", *parameters)
    return int(row["number"])
