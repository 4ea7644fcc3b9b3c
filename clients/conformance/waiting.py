"""Waiting for what others do."""

import asyncio
from collections.abc import Awaitable, Callable

LOOK_EVERY = 0.2


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Look until it holds; bound it with asyncio.timeout."""
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(LOOK_EVERY)
