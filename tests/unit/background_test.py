"""Work beside a server: none of it ends without a word."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine

import pytest
from structlog.testing import capture_logs

from servers.kernel.background import in_background


async def ends() -> None:
    """By itself."""


async def is_cut_off() -> None:
    """By a library, which says so as if the task had been cancelled."""
    raise asyncio.CancelledError


async def fails() -> None:
    raise ValueError("secret")


@pytest.mark.parametrize(
    ("work", "logged"),
    [(ends, "process.work_ended"), (is_cut_off, "process.work_ended"), (fails, "process.work_failed")],
)
async def test_a_process_whose_work_ends_is_ended(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], Coroutine[None, None, None]], logged: str
) -> None:
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *said: signals.append(said))
    with capture_logs() as logs:
        async with in_background(work()):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    assert signals == [(os.getpid(), signal.SIGTERM)]
    assert [each["event"] for each in logs] == [logged]


async def test_work_that_is_ended_with_its_server_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda *said: pytest.fail(f"killed: {said}"))
    async with in_background(asyncio.Event().wait()):  # type: ignore[arg-type]  # it never gives anything
        await asyncio.sleep(0)
