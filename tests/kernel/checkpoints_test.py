"""SQLite's log is copied into its file beside the writer, and does not grow without end."""

import asyncio
from pathlib import Path

import pytest

from servers.kernel import checkpoints
from servers.kernel.checkpoints import checkpoint
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


async def test_what_is_committed_comes_into_the_file_without_the_writer(
    path: Path, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "LOOK_SECONDS", 0.05)
    async with running(f"sqlite:///{path}", toy(), spans) as kernel:
        await until(lambda: size(path) > 4096, "the tables come into the file")
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
        monkeypatch.setattr(checkpoints, "LONGEST_PAGES", 10)
        longest = size(log)
        copied = await asyncio.to_thread(checkpoint, str(path))
        assert (copied.busy, copied.copied) == (0, copied.pages)
        await execute(kernel, step(new_case()))
        assert size(log) == longest
        assert (await asyncio.to_thread(checkpoint, str(path))).pages < pages
