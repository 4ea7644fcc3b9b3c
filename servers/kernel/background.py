"""Work that runs beside a server for as long as the server does."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from clients.telemetry.unexpected import unexpected

log = structlog.get_logger()


@asynccontextmanager
async def in_background(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these until the block is left. One that ends by itself is a bug: the process ends, and is started again."""
    tasks = [asyncio.create_task(work) for work in works]
    for task in tasks:
        task.add_done_callback(_ended)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _ended(task: "asyncio.Task[None]") -> None:
    if task.cancelling():
        return
    # A cancellation that nobody has asked for ends the work like anything else.
    error = None if task.cancelled() else task.exception()
    if error is None:
        log.error("process.work_ended")
    else:
        log.error("process.work_failed", **unexpected(error))
    os.kill(os.getpid(), signal.SIGTERM)
