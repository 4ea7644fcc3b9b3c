"""A database that stands still: whoever calls is told before he gives up, and a repeat tells what became of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bridge.ports import StoreUnavailable
from servers.kernel import kernel as kernels
from servers.kernel.database import Database
from servers.kernel.kernel import Kernel
from tests.kernel.drive import execute, new_case, step


@contextmanager
def held(url: str) -> Iterator[None]:
    """Somebody else has the journal, and does not let go of it."""
    database = Database(url)
    lock = "SELECT 1" if database.is_sqlite else "SELECT * FROM journal_head FOR UPDATE"
    try:
        with database.writer.connect() as connection, connection.begin():
            connection.exec_driver_sql(lock)
            yield
    finally:
        database.close()


async def test_a_call_is_answered_before_its_deadline_and_its_repeat_has_one_effect(
    kernel: Kernel, database_url: str
) -> None:
    command = step(new_case())
    with held(database_url):
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="in time"):
            await execute(kernel, command, seconds=2)
        assert time.monotonic() - started < 2
    first = await execute(kernel, command)
    assert await execute(kernel, command) == first


async def test_a_read_that_gets_no_answer_ends(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "READ_SECONDS", 0.5)
    with pytest.raises(StoreUnavailable, match="in time"):
        await kernel.read(lambda connection: time.sleep(2))
