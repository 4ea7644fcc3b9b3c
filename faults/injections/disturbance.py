"""Whether the rest of the load notices what some do."""

import asyncio
import statistics
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from faults.injections.stage import NotInjected, Stage

BASELINE_SECONDS = 3.0
SLOWER, LEAST = 5.0, 1.0
"""The rest of the load is disturbed where its median latency grows so many times, beyond so many seconds."""


@asynccontextmanager
async def undisturbed(stage: Stage, what: str) -> AsyncIterator[None]:
    """Compares the load's latency in the block with that before."""
    before = await _median(stage, asyncio.sleep(BASELINE_SECONDS))
    latencies = stage.load.cast.caller.latencies
    latencies.clear()
    yield
    meanwhile = statistics.median(latencies) if latencies else float("inf")
    stage.figures[f"{what}: ms to an answer before"] = round(1000 * before, 1)
    stage.figures[f"{what}: ms to an answer meanwhile"] = round(1000 * meanwhile, 1)
    if meanwhile > max(SLOWER * before, LEAST):
        raise NotInjected(f"the load was disturbed: {meanwhile:.2f} s to an answer, {before:.2f} s before")


async def _median(stage: Stage, waiting: Awaitable[None]) -> float:
    latencies = stage.load.cast.caller.latencies
    latencies.clear()
    await waiting
    return statistics.median(latencies) if latencies else 0.0
