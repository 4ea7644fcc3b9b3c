"""A mesh misses a database that was there, and never begins it anew; on files, and on a PostgreSQL server."""

import json
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import NullPool, create_engine, text
from structlog.testing import capture_logs

from servers.kernel import tables
from servers.kernel.database import Database
from servers.kernel.migrate import migrate
from servers.mesh.backup import back_up, restore
from servers.mesh.backup import begin as begin_epoch
from servers.mesh.databases import check_there, database_url, epoch_of, make_databases, note_epoch
from servers.mesh.epochs import epochs_file, last_epoch, remember_epoch
from servers.mesh.errors import MeshError
from tests.kernel.toy import toy

SUBSYSTEMS = ("department", "governance", "intake")


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> str:
    """As `--database` names it."""
    if request.param == "sqlite":
        return ""
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def name() -> str:
    """A subsystem of this test's own: on the server, others have theirs."""
    return f"t{uuid4().hex}"


def begin(server: str, data: Path, *names: str) -> None:
    """As a mesh does at its first start."""
    make_databases(server, data, names)
    for name in names:
        fill(server, data, name)
        remember_epoch(data, name, epoch_of(server, data, name) or 0)


def fill(server: str, data: Path, name: str) -> None:
    with closing(Database(database_url(server, data, name))) as database:
        migrate(database, toy())


def on_server(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(statement))


def lose(server: str, data: Path, name: str) -> None:
    if not server:
        (data / "db" / f"{name}.db").unlink()
        return
    on_server(server, f'DROP DATABASE "ronghe_{name}"')


def empty(server: str, data: Path, name: str) -> None:
    """One is there, and nothing in it: made by whoever opened it, or on a server set up anew."""
    lose(server, data, name)
    if not server:
        (data / "db" / f"{name}.db").touch()
        return
    on_server(server, f'CREATE DATABASE "ronghe_{name}"')


@pytest.mark.parametrize("loss", [lose, empty])
def test_a_database_that_was_there_is_not_begun_anew(
    server: str, name: str, loss: Callable[[str, Path, str], None], tmp_path: Path
) -> None:
    begin(server, tmp_path, name)
    make_databases(server, tmp_path, [name])
    loss(server, tmp_path, name)
    for attempt in (check_there, lambda *where: make_databases(*where[:2], [name])):
        with pytest.raises(MeshError, match=f"the database of {name} is lost: .*, in epoch 1; .*put a backup back"):
            attempt(server, tmp_path, name)
    assert epoch_of(server, tmp_path, name) == 0
    where = "ronghe_" + name if server else f"{tmp_path}/db/{name}.db"
    with pytest.raises(MeshError, match=where):
        check_there(server, tmp_path, name)


def test_in_a_new_folder_there_is_nothing_to_miss_and_a_start_that_failed_leaves_nothing_to_miss(
    server: str, name: str, tmp_path: Path
) -> None:
    check_there(server, tmp_path, name)
    for _ in range(2):
        make_databases(server, tmp_path, [name])
        check_there(server, tmp_path, name)
    assert last_epoch(tmp_path, name) == 0


def test_what_does_not_answer_or_is_damaged_is_not_lost(server: str, name: str, tmp_path: Path) -> None:
    begin(server, tmp_path, name)
    if server:
        check_there("postgresql://postgres@127.0.0.1:1", tmp_path, name)
    else:
        (tmp_path / "db" / f"{name}.db").write_bytes(b"no database, but somebody's record" * 100)
        check_there(server, tmp_path, name)


def test_a_restore_brings_back_what_is_missing_in_a_later_epoch_whatever_is_left_of_it(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    data.mkdir()
    begin("", data, *SUBSYSTEMS)
    back_up(data, backup)
    file = data / "db" / "intake.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("UPDATE journal_head SET position = 999")
        connection.commit()
        file.with_name("intake.db-wal").rename(data / "kept")
    file.unlink()
    (data / "kept").rename(file.with_name("intake.db-wal"))
    for epoch in (2, 3):
        restore(data, backup, ["intake"])
        check_there("", data, "intake")
        assert json.loads(epochs_file(data).read_text()) == {"department": 1, "governance": 1, "intake": epoch}
        with closing(create_engine(database_url("", data, "intake")).connect()) as connection:
            head = connection.execute(tables.journal_head.select()).one()
        assert (head.epoch, head.position) == (epoch, 0)
        # The whole volume is gone, not the file alone.
        for path in (data / "db").glob("intake*"):
            path.unlink()
        with pytest.raises(MeshError, match=f"in epoch {epoch}"):
            check_there("", data, "intake")


def test_a_backup_that_other_tools_put_back_twice_gets_another_epoch_each_time(
    server: str, name: str, tmp_path: Path
) -> None:
    begin(server, tmp_path, name)
    for epoch in (2, 3):
        empty(server, tmp_path, name)
        fill(server, tmp_path, name)  # the oldest backup there is
        assert begin_epoch(tmp_path, name, database_url(server, tmp_path, name)) == epoch
        check_there(server, tmp_path, name)
        assert epoch_of(server, tmp_path, name) == last_epoch(tmp_path, name) == epoch


def test_a_backup_that_has_no_epoch_of_its_own_is_not_begun(server: str, name: str, tmp_path: Path) -> None:
    begin(server, tmp_path, name)
    begin_epoch(tmp_path, name, database_url(server, tmp_path, name))
    empty(server, tmp_path, name)
    fill(server, tmp_path, name)
    how = f"backup --data {tmp_path} epoch {name} URL" if server else "`ronghe restore`"
    for attempt in (check_there, lambda *where: make_databases(*where[:2], [name])):
        with pytest.raises(MeshError, match=f"{name} is an older one: .* is in epoch 1, and 2 was begun .*{how}"):
            attempt(server, tmp_path, name)


async def test_an_epoch_that_cannot_be_told_is_asked_for_again(
    server: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_databases(server, tmp_path, [name])
    fill(server, tmp_path, name)
    answers: list[int | None] = [None, None, 1]
    monkeypatch.setattr("servers.mesh.databases.epoch_of", lambda *where: answers.pop(0))
    await note_epoch(server, tmp_path, name)
    assert last_epoch(tmp_path, name) == 1


async def test_where_it_is_not_told_at_all_what_was_known_stays_and_the_log_says_so(tmp_path: Path) -> None:
    remember_epoch(tmp_path, "intake", 2)
    with capture_logs() as logs:
        await note_epoch("postgresql://postgres@127.0.0.1:1", tmp_path, "intake")
    assert [(line["event"], line["subsystem"]) for line in logs] == [("mesh.epoch_unknown", "intake")]
    assert last_epoch(tmp_path, "intake") == 2


def test_an_epoch_is_on_the_disk_before_its_file_takes_the_earlier_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[tuple[bool, int]] = []

    def note(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        there.append((is_folder, last_epoch(tmp_path, "intake")))

    monkeypatch.setattr("os.fsync", note)
    remember_epoch(tmp_path, "intake", 1)
    assert there == [(False, 0), (True, 1)]


def test_a_list_of_epochs_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    epochs_file(tmp_path).write_text("{")
    with pytest.raises(MeshError, match="cannot be read"):
        last_epoch(tmp_path, "intake")
