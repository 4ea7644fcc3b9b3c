"""SQLite's log is copied into its file beside the writer, and does not grow without end."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from servers.kernel import background, checkpoints
from servers.kernel.checkpoints import checkpoint
from servers.kernel.database import READERS
from servers.kernel.kernel import running
from tests.integration.memory import until
from tests.kernel.conftest import Spans
from tests.kernel.drive import execute, new_case, step
from tests.kernel.toy import toy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kernel.db"


def size(path: Path) -> int:
    return path.stat().st_size


def is_there(path: Path) -> bool:
    return path.exists()


def take_away(path: Path) -> None:
    path.rename(path.with_name("away.db"))


async def test_what_is_committed_comes_into_the_file_without_the_writer(
    path: Path, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "LOOK_SECONDS", 0.05)
    async with running(f"sqlite:///{path}", toy(), spans) as kernel:
        await until(lambda: size(path) > 8192, "the tables come into the file")
        before = size(path)
        for _ in range(60):
            await execute(kernel, step(new_case()))
        await until(lambda: size(path) > before, "the rows come into the file")


async def test_a_log_that_is_too_long_begins_anew(path: Path, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "LOOK_SECONDS", 3600)
    log = path.with_name("kernel.db-wal")
    async with running(f"sqlite:///{path}", toy(), spans) as kernel:
        for _ in range(20):
            await execute(kernel, step(new_case()))
        pages = (await asyncio.to_thread(checkpoint, str(path))).pages
        await execute(kernel, step(new_case()))
        monkeypatch.setattr(checkpoints, "LONGEST_BYTES", 80_000)
        longest = size(log)
        copied = await asyncio.to_thread(checkpoint, str(path))
        assert (copied.busy, copied.copied) == (0, copied.pages)
        await execute(kernel, step(new_case()))
        assert size(log) == longest
        assert (await asyncio.to_thread(checkpoint, str(path))).pages < pages


async def test_a_process_ends_when_its_file_is_taken_away_and_makes_none_anew(
    path: Path, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()
    monkeypatch.setattr(background.os, "kill", lambda pid, number: ended.set())
    monkeypatch.setattr(checkpoints, "LOOK_SECONDS", 0.05)
    with capture_logs() as logs:
        async with running(f"sqlite:///{path}", toy(), spans) as kernel:
            await execute(kernel, step(new_case()))
            take_away(path)
            reads = (kernel.read(lambda connection: connection.scalar(text("SELECT 1"))) for _ in range(READERS))
            await asyncio.gather(*reads, return_exceptions=True)
            await until(lambda: any(line["event"] == "checkpoints.waiting" for line in logs), "it is looked at")
            await asyncio.wait_for(ended.wait(), 10)
    assert [line["file"] for line in logs if line["event"] == "kernel.database_gone"] == [str(path)]
    assert not is_there(path)
