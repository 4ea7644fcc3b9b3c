"""A database that a fault puts back by one step of its schema."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from faults.injections.migrations import BEFORE, NEWEST, is_migrated, put_back
from faults.injections.stage import NotInjected

MIGRATE = """
import sys
from servers.kernel.database import Database
from servers.kernel.migrate import migrate
from tests.kernel.toy import toy
migrate(Database(sys.argv[1]), toy())
"""


def migrate(database: Path, crash_at: str = "") -> int:
    environment = {**os.environ, "RONGHE_CRASH_AT": crash_at}
    command = [sys.executable, "-c", MIGRATE, f"sqlite:///{database}"]
    return subprocess.run(command, env=environment, check=False).returncode


def test_a_migration_that_is_killed_has_done_nothing_and_the_next_one_does_all_of_it(tmp_path: Path) -> None:
    database = tmp_path / "kernel.db"
    assert migrate(database) == 0
    mark = put_back(database)
    assert not is_migrated(database, mark)
    assert migrate(database, "during-migration") == -signal.SIGKILL
    assert old_requests(database) > 0
    assert not is_migrated(database, mark)
    assert migrate(database) == 0
    assert is_migrated(database, mark)


def test_a_database_at_another_step_is_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "kernel.db"
    migrate(database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ? WHERE version_num = ?", (BEFORE, NEWEST))
    with pytest.raises(NotInjected):
        put_back(database)
    assert old_requests(database) == 0


def old_requests(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM request WHERE key LIKE '% %'").fetchone()[0])
