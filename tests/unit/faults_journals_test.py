"""What the checker reads of a subsystem's database by SQL of its own."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert

import servers.governance
from faults.checker.journals import read
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration
from ronghe.state.v1.state_pb2 import CollaborationState
from servers.collaboration.views import COLLABORATIONS, collaboration_values
from servers.kernel import tables
from servers.kernel.database import Database
from servers.kernel.migrate import migrate
from servers.kernel.subsystem import Subsystem
from servers.mesh.databases import database_url, make_databases

NAME = "governance"
DAY = 24 * 3600 * 1_000_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The center's, empty."""
    make_databases("", tmp_path, [NAME])
    with closing(Database(database_url("", tmp_path, NAME))) as found:
        migrate(found, Subsystem(f"{NAME}-01", [], Path(servers.governance.__path__[0]) / "migrations"))
        yield found


@pytest.mark.parametrize(("advanced", "overdue"), [(0, []), (2 * DAY, ["task/late"])], ids=["tomorrow", "two days on"])
def test_a_timer_is_overdue_by_the_clock_that_operators_advanced(
    database: Database, tmp_path: Path, advanced: int, overdue: list[str]
) -> None:
    due = time.time_ns() // 1000 + DAY
    with database.writer.begin() as connection:
        cursor = {"name": "clock/advanced", "value": json.dumps({"micros": advanced})}
        connection.execute(insert(tables.cursor).values(**cursor))
        connection.execute(insert(tables.timer).values(stream="task/late", name="sign-in", case_id="", due_at=due))

    assert read(tmp_path / "db" / f"{NAME}.db", NAME).overdue_timers == overdue


def test_of_dead_letters_all_are_known_and_the_open_ones_are_set_aside(database: Database, tmp_path: Path) -> None:
    with database.writer.begin() as connection:
        for event_id, settled_at in (("waiting", None), ("given up", 1)):
            letter = {"event_id": event_id, "source": event_id, "case_id": "case", "origin": "", "type": ""}
            rest = {"headers": "{}", "body": b"", "problem": "", "parked_at": 1, "settled_at": settled_at}
            connection.execute(insert(tables.dead_letter).values(**letter, **rest))

    journal = read(tmp_path / "db" / f"{NAME}.db", NAME)

    assert journal.letters == [("waiting", "case"), ("given up", "case")]
    assert journal.set_aside == [("waiting", "case")]


def test_a_view_of_a_collaboration_is_read(database: Database, tmp_path: Path) -> None:
    known = Collaboration(collaboration_id="co", case_id="case", state=Collaboration.STATE_OPENED)
    row = {"id": "co", "case_id": "case", "version": 1, "fold_version": 1, "last_event_id": ""}
    with database.writer.begin() as connection:
        snapshot = CollaborationState(collaboration=known).SerializeToString()
        connection.execute(insert(COLLABORATIONS).values(**row, snapshot=snapshot, **collaboration_values(known)))

    assert read(tmp_path / "db" / f"{NAME}.db", NAME).collaborations == {"co": known}
