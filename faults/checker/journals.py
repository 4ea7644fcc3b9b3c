"""Reads a subsystem's database by plain SQL, read-only."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from faults.checker.history import Event, InboxRow, Journal, Row
from ronghe.case.v1.case_pb2 import Case
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration
from ronghe.state.v1 import state_pb2

SUBSYSTEMS = ("intake", "governance", "department")
VIEWS: Mapping[str, tuple[str, Any]] = {
    "intake": ("stream_application", state_pb2.ApplicationState),
    "governance": ("stream_case", state_pb2.GovernanceCaseState),
    "department": ("stream_organ_case", state_pb2.OrganCaseState),
}
TIMER_GRACE_SECONDS = 30.0


Select = Callable[..., Sequence[Any]]
"""A query and its parameters -> rows, whose columns are found by their names."""


def read(database: Path | str, subsystem: str) -> Journal:
    """Everything the checker wants to know of one database at one moment: an SQLite file, or a PostgreSQL URL."""
    with opened(database) as select:
        return _read(select, subsystem)


def opened(database: Path | str) -> AbstractContextManager[Select]:
    """Queries on it, read-only, all of one moment."""
    return _sqlite(database) if isinstance(database, Path) else _postgresql(database)


@contextmanager
def _sqlite(path: Path) -> Iterator[Select]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        yield lambda query, *parameters: connection.execute(query, parameters).fetchall()


@contextmanager
def _postgresql(url: str) -> Iterator[Select]:
    with psycopg.connect(url, row_factory=dict_row, connect_timeout=30) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield lambda query, *parameters: connection.execute(query.replace("?", "%s"), parameters).fetchall()


def _read(select: Select, subsystem: str) -> Journal:
    (head,) = select("SELECT epoch, position, hash FROM journal_head")
    cursors = {row["name"]: json.loads(row["value"]) for row in select("SELECT name, value FROM cursor")}
    overdue = _overdue(cursors)
    letters = select("SELECT event_id, case_id, settled_at FROM dead_letter ORDER BY id")
    return Journal(
        subsystem=subsystem,
        rows=[_row(row) for row in select("SELECT * FROM journal ORDER BY position")],
        head=(head["position"], head["hash"]),
        inbox=[_inbox_row(row) for row in select("SELECT * FROM inbox ORDER BY receiver, sequence")],
        last_sequences={row["name"]: row["last_sequence"] for row in select("SELECT * FROM receiver")},
        published=None if subsystem == "intake" else cursors.get("relay", {}).get("position", 0),
        set_aside=[(row["event_id"], row["case_id"]) for row in letters if row["settled_at"] is None],
        letters=[(row["event_id"], row["case_id"]) for row in letters],
        overdue_timers=[row["stream"] for row in select("SELECT stream FROM timer WHERE due_at < ?", overdue)],
        cases=_cases(select, subsystem),
        collaborations={} if subsystem == "intake" else _collaborations(select),
        epoch=head["epoch"],
    )


def _overdue(cursors: Mapping[str, Any]) -> int:
    """What was due before is overdue, in microseconds since 1970: in a simulation, operators have let days pass.

    The journal's own times do not tell: after a clock that was ahead they stand still until it has passed them.
    """
    advanced: int = cursors.get("clock/advanced", {}).get("micros", 0)
    return int((time.time() - TIMER_GRACE_SECONDS) * 1_000_000) + advanced


def _row(row: Any) -> Row:
    event = Event(
        id=row["event_id"],
        origin=row["origin"],
        case_id=row["case_id"],
        stream=row["stream"],
        version=row["version"],
        causes=tuple(cause for cause in row["causes"].split(",") if cause),
        type=row["type"],
        recorded_at=row["recorded_at"],
        body=row["body"],
    )
    return Row(
        position=row["position"],
        event=event,
        epoch=row["epoch"],
        taken_at=row["taken_at"],
        arrival=row["arrival"],
        call=row["call"],
        body_digest=row["body_digest"],
        hash=row["hash"],
    )


def _inbox_row(row: Any) -> InboxRow:
    return InboxRow(
        row["receiver"], row["sequence"], row["position"], row["case_id"], row["acknowledged_at"] is not None
    )


def _cases(select: Select, subsystem: str) -> dict[str, Case]:
    table, state = VIEWS[subsystem]
    rows = select(f"SELECT case_id, snapshot FROM {table}")  # noqa: S608 - a name of our own
    return {row["case_id"]: state.FromString(row["snapshot"]).case for row in rows}


def _collaborations(select: Select) -> dict[str, Collaboration]:
    rows = select("SELECT id, snapshot FROM stream_collaboration")
    return {row["id"]: state_pb2.CollaborationState.FromString(row["snapshot"]).collaboration for row in rows}
