"""Whether a mesh still has something to do, as the fault campaign counts it, on both kinds of databases."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

import servers.governance
from faults import settling
from faults.checker.history import Journal
from faults.checker.journals import read
from faults.settling import Look, look, moves
from servers.kernel import tables
from servers.kernel.database import Database
from servers.kernel.migrate import migrate
from servers.kernel.subsystem import Subsystem

NAME = "governance"
FACTS = "ronghe.event.v1."


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The center's, empty."""
    with closing(Database(database_url)) as found:
        migrate(found, Subsystem(f"{NAME}-01", [], Path(servers.governance.__path__[0]) / "migrations"))
        yield found


@pytest.fixture
def source(database_url: str) -> Path | str:
    """As the campaign knows it."""
    kind, _, path = database_url.partition(":///")
    return Path(path) if kind == "sqlite" else database_url.replace("postgresql+psycopg", "postgresql")


def row(position: int, name: str, **fields: Any) -> Mapping[str, Any]:
    return {
        "position": position,
        "epoch": 1,
        "event_id": f"event {position}",
        "origin": "governance-01",
        "case_id": "case",
        "stream": "",
        "version": 1,
        "causes": "",
        "type": FACTS + name,
        "body": b"",
        "body_digest": b"",
        "recorded_at": 0,
        "taken_at": 0,
        "arrival": 1,
        "hash": b"",
        **fields,
    }


def test_what_has_yet_to_leave_a_subsystem_and_what_has_not_ended_is_counted(
    database: Database, source: Path | str
) -> None:
    item = {"receiver": "organ/one", "position": 1, "case_id": "case", "since": 0}
    rows = [row(1, "Submitted", arrival=3), row(2, "Accepted"), row(3, "JournalHead", case_id=""), row(4, "TaskHeld")]
    rows += [row(5, "Submitted", case_id="another"), row(6, "Decided", case_id="another")]
    with database.writer.begin() as connection:
        connection.execute(insert(tables.journal), rows)
        connection.execute(update(tables.journal_head).values(position=6, hash=b"six"))
        connection.execute(insert(tables.cursor).values(name="relay", value=json.dumps({"position": 2})))
        items = [{**item, "sequence": 1, "acknowledged_at": 7}, {**item, "sequence": 2, "acknowledged_at": None}]
        connection.execute(insert(tables.inbox), items)

    found = look(source, NAME)

    assert found == Look((6, b"six"), frozenset({"event 3"}), unacknowledged=1, unpublished=4, unended=1)
    assert found.waits
    assert look(source, "intake").unpublished == 0


def test_whole_journals_are_read_only_once_no_count_says_that_anything_moves(
    database: Database, source: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def noted(database: Path | str, subsystem: str) -> Journal:
        reads.append(subsystem)
        return read(database, subsystem)

    monkeypatch.setattr(settling, "read", noted)
    with database.writer.begin() as connection:
        item = {"receiver": "organ/one", "sequence": 1, "position": 1, "case_id": "case", "since": 0}
        connection.execute(insert(tables.inbox).values(item))
    assert moves({NAME: source})
    assert not reads
    with database.writer.begin() as connection:
        connection.execute(delete(tables.inbox))
    assert not moves({NAME: source})
    assert reads == [NAME]
    with database.writer.begin() as connection:  # what no count shows
        due = {"stream": "task/late", "name": "sign-in", "case_id": "", "due_at": time.time_ns() // 1000 - 10**9}
        connection.execute(insert(tables.timer).values(due))
    assert moves({NAME: source})
