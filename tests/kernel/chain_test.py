"""The chain's encoding: no two rows share one, and a database of an earlier version is chained anew."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, make_url, select, text, update

from servers.kernel import journal, tables
from servers.kernel.database import Database
from servers.kernel.kernel import Kernel
from servers.kernel.migrate import HERE
from servers.mesh import backup
from servers.mesh.errors import MeshError
from tests.kernel.conftest import Start
from tests.kernel.drive import execute, new_case, rows, step
from tests.kernel.toy import MIGRATIONS

ROW = {
    "epoch": 1, "position": 1, "event_id": "e", "origin": "o", "case_id": "c", "stream": "s/1|2", "version": 3,
    "causes": "", "type": "t", "recorded_at": 4, "taken_at": 5, "arrival": 1, "call": None, "body_digest": bytes(32),
}  # fmt: skip
TWINS = {
    "what stood before a separator": ({"stream": "s/1", "version": 2}, {"stream": "s/1|2", "version": 3}),
    "a text moved on to the next": ({"origin": "oc", "case_id": ""}, {"origin": "o", "case_id": "c"}),
    "no call, and one that is called so": ({"call": None}, {"call": "None"}),
    "no call, and an empty one": ({"call": None}, {"call": ""}),
    "a longer text in more bytes": ({"type": "ü", "call": "t"}, {"type": "üt", "call": ""}),
}


@pytest.mark.parametrize("twins", TWINS.values(), ids=TWINS)
def test_two_rows_that_look_alike_have_two_hashes(twins: tuple[dict[str, Any], dict[str, Any]]) -> None:
    one, other = (journal.chained({**ROW, **changed}, bytes(32)) for changed in twins)
    assert one != other


def test_the_encoding_is_the_documented_one() -> None:
    framed = b"".join(
        (
            bytes(32),
            *(number.to_bytes(8) for number in (1, 1, 3, 4, 5, 1)),
            *(length.to_bytes(4) for length in (1, 1, 1, 5, 0, 1, 2**32 - 1)),
            b"eocs/1|2t",
            bytes(32),
        )
    )
    assert journal.chained(ROW, bytes(32)) == hashlib.sha256(framed).digest()


async def test_a_row_of_what_no_row_can_hold_is_named(kernel: Kernel) -> None:
    for _ in range(2):
        await execute(kernel, step(new_case()))
    if not kernel.database.is_sqlite:
        pytest.skip("PostgreSQL's columns hold what they are declared for")
    for position, change in ((3, "epoch = 'one'"), (2, "body = 'text'"), (1, "origin = x'00'")):
        statement = text(f"UPDATE journal SET {change} WHERE position = {position}")  # noqa: S608 - of the test
        await kernel.write(lambda c: c.execute(statement).rowcount)  # noqa: B023
        fault = (await kernel.read(lambda c: journal.verify(c, 0, 100))).fault
        assert fault == journal.Fault(position, "the row holds what no row can hold")


# --- of an earlier version ---


def old_hash(row: Any, previous: bytes) -> bytes:
    """As it was before kernel_0006."""
    names = ("epoch", "position", "event_id", "origin", "case_id", "stream", "version", "causes", "type",
             "recorded_at", "taken_at", "arrival", "call")  # fmt: skip
    line = "|".join([*(str(row[name]) for name in names), ""])
    return hashlib.sha256(previous + line.encode() + row["body_digest"]).digest()


def chain_as_before(connection: Connection) -> None:
    previous = bytes(32)
    for row in connection.execute(select(tables.journal).order_by(tables.journal.c.position)).mappings().all():
        previous = old_hash(row, previous)
        statement = update(tables.journal).where(tables.journal.c.position == row["position"])
        connection.execute(statement.values(hash=previous))
    connection.execute(update(tables.journal_head).values(hash=previous))


@pytest.fixture
async def earlier(start: Start, database_url: str) -> str:
    """A database of the version before, with six rows."""
    async with start() as kernel:
        for _ in range(3):
            await execute(kernel, step(new_case()))
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{HERE / 'versions'}\n{MIGRATIONS}")
    with closing(Database(database_url)) as database, database.writer.begin() as connection:
        chain_as_before(connection)
        connection.execute(text("DROP TABLE stream_journal"))
        config.attributes["connection"] = connection
        command.stamp(config, ["kernel_0005", "toy_0001"], purge=True)
    return database_url


async def test_a_journal_of_an_earlier_version_is_chained_anew(start: Start, earlier: str) -> None:
    async with start() as kernel:
        assert await kernel.read(lambda c: journal.verify(c, 0, 100)) == journal.Walk(6, 6)
        assert await kernel.read(journal.verify_head) is None
        await execute(kernel, step(new_case()))
        assert (await kernel.read(lambda c: journal.verify(c, 0, 100))).fault is None


async def test_a_backup_of_an_earlier_version_is_told_plainly(earlier: str, tmp_path: Path) -> None:
    if not earlier.startswith("sqlite"):
        pytest.skip("PostgreSQL is backed up by its own tools")
    folder, data = tmp_path / "backup", tmp_path / "data"
    folder.mkdir()
    data.mkdir()
    with closing(sqlite3.connect(make_url(earlier).database or "")) as here:
        here.execute("VACUUM INTO ?", (str(folder / "department.db"),))
    manifest = {"databases": {"department": backup._described(folder / "department.db")}}
    (folder / backup.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(MeshError, match="is of an earlier version"):
        backup.restore(data, folder, ["department"])


async def test_what_was_wrong_with_it_is_still_named(start: Start, earlier: str) -> None:
    with closing(Database(earlier)) as database, database.writer.begin() as connection:
        connection.execute(update(tables.journal).where(tables.journal.c.position == 4).values(version=99))
    async with start() as kernel:
        walk = await kernel.read(lambda c: journal.verify(c, 0, 100))
        assert walk.fault == journal.Fault(4, "the row does not continue the chain")
        assert len(await rows(kernel)) == 6
