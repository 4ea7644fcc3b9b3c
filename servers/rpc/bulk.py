"""Bulk calls: many items on one stream, each answered by itself, in any order."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

Req = TypeVar("Req")
Resp = TypeVar("Resp")

# Items of one stream that are worked on at once; further ones wait in the transport, which slows the client down.
AT_ONCE = 512


async def answer_each(
    requests: AsyncIterator[Req], answer: Callable[[Req], Coroutine[Any, Any, Resp]], at_once: int = AT_ONCE
) -> AsyncGenerator[Resp, None]:
    """Answers as they are ready. Items are begun in the order they came.

    `answer` turns what is wrong with an item into a response; an error that it raises ends the stream.
    """
    room = asyncio.Semaphore(at_once)
    finished: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
    pending: set[asyncio.Task[Any]] = set()

    def begin(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        pending.add(task)
        task.add_done_callback(finished.put_nowait)
        return task

    async def read() -> None:
        async for request in requests:
            await room.acquire()
            begin(answer(request))

    reading = begin(read())
    try:
        while pending:
            task = await finished.get()
            pending.discard(task)
            result = task.result()
            if task is not reading:
                room.release()
                yield result
    finally:
        await _cancel(pending)


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
