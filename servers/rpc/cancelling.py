"""Tasks that make calls are cancelled until they end.

Where a call has just ended when whoever waits for it is cancelled, grpc.aio raises its own error in place of the
cancellation. A loop takes that for a call that has failed and goes on: a server that was told to stop did, as if
nothing had been said.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

# Longer than what a task may still do once it is cancelled, shorter than what a process is given to stop.
AGAIN_SECONDS = 5.0


async def cancel(*tasks: "asyncio.Task[Any]", again: float = AGAIN_SECONDS) -> None:
    """Return when they have ended, however they do."""
    insisting = asyncio.create_task(_insist(tasks, again))
    try:
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        insisting.cancel()


async def _insist(tasks: "Sequence[asyncio.Task[Any]]", again: float) -> None:
    while True:
        for task in tasks:
            task.cancel()
        await asyncio.sleep(again)
