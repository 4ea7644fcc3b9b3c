"""Bulk calls: many items on one stream, each answered by itself, in any order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

Req = TypeVar("Req")
Resp = TypeVar("Resp")

# Items of one stream that are worked on at once; further ones wait in the transport, which slows the client down.
AT_ONCE = 512


async def answer_each(
    requests: AsyncIterator[Req], answer: Callable[[Req], Awaitable[Resp]], at_once: int = AT_ONCE
) -> AsyncIterator[Resp]:
    """Answers as they are ready. Items are begun in the order they came; `answer` must not raise for a bad item."""
    room = asyncio.Semaphore(at_once)
    finished: asyncio.Queue[asyncio.Task[Resp] | None] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_begin_each(requests, answer, room, finished))
        try:
            while (task := await finished.get()) is not None:
                room.release()
                yield task.result()
        finally:
            reading.cancel()


async def _begin_each(
    requests: AsyncIterator[Req],
    answer: Callable[[Req], Awaitable[Resp]],
    room: asyncio.Semaphore,
    finished: "asyncio.Queue[asyncio.Task[Resp] | None]",
) -> None:
    async with asyncio.TaskGroup() as group:
        async for request in requests:
            await room.acquire()
            group.create_task(_awaited(answer(request))).add_done_callback(finished.put_nowait)
    finished.put_nowait(None)


async def _awaited(answer: Awaitable[Resp]) -> Resp:
    return await answer
