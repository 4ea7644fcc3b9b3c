"""The messages of a streaming call, as its servicer sees them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Requests(Generic[T]):
    """Ends when the client has sent its last message, or when the server closes: the servicer finishes and returns."""

    def __init__(
        self, bodies: AsyncIterator[bytes], parse: Callable[[bytes], T], may_go_on: Callable[[], Awaitable[None]]
    ) -> None:
        self._bodies = bodies
        self._parse = parse
        self._may_go_on = may_go_on
        self._reading: asyncio.Future[bytes] | None = None
        self.cut_short = False

    def __aiter__(self) -> "Requests[T]":
        return self

    async def __anext__(self) -> T:
        if self.cut_short:
            raise StopAsyncIteration
        self._reading = asyncio.ensure_future(anext(self._bodies))
        try:
            body = await self._reading
        except asyncio.CancelledError:
            if self.cut_short and not _is_cancelled():
                raise StopAsyncIteration from None
            raise
        await self._may_go_on()
        return self._parse(body)

    def cut(self) -> None:
        """End it here, whatever the client still has to send."""
        self.cut_short = True
        if self._reading is not None:
            self._reading.cancel()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
