"""How long calls wait before anybody sees them, and what is refused for it.

Calls that come faster than they are looked at wait inside the transport library, which does not say how many there are,
nor since when, until their callers give up. So the server calls itself, time after time: its own call waits as long as
theirs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc

KNOCK_SECONDS = 0.25
# While its own call waits for longer, a server refuses others: that takes it a small part of what doing them takes.
LONGEST_WAIT_SECONDS = 1.0
# To refuse takes time as well: those who come back too soon, all of them, keep a server crowded with nothing but them.
LONGEST_RETURN_SECONDS = 4.0


class Door:
    """Crowded or not."""

    def __init__(self) -> None:
        self._knocked_at: float | None = None
        self._last_wait = 0.0
        self._calm_at = time.monotonic()
        self._answered = asyncio.Event()
        self._is_closed = False

    def close(self) -> None:
        """Nobody need knock any more. To cancel `watch` alone is not enough.

        Where a call has just ended, the library raises an error in place of the cancellation: a server that was told to
        stop went on as if nothing had been said.
        """
        self._is_closed = True

    async def watch(self, knock: Callable[[], Awaitable[object]]) -> None:
        """Make such a call time after time, until closed. One that fails says nothing of how long others wait."""
        try:
            while not self._is_closed:
                self._answer(await self._wait_of(knock))
                # Those that came behind a call that waited for long may wait as long: it is asked again at once.
                await asyncio.sleep(0 if self.is_crowded else KNOCK_SECONDS)
        finally:
            # Nobody asks any more, as in a server that closes: nobody may be kept waiting for the answer.
            self._answer(0.0)

    async def _wait_of(self, knock: Callable[[], Awaitable[object]]) -> float:
        self._knocked_at = time.monotonic()
        try:
            await knock()
        except grpc.aio.AioRpcError:
            return 0.0
        wait = time.monotonic() - self._knocked_at
        if wait <= LONGEST_WAIT_SECONDS:
            self._calm_at = time.monotonic()
        return wait

    def _answer(self, wait: float) -> None:
        self._knocked_at, self._last_wait = None, wait
        self._answered.set()
        self._answered = asyncio.Event()

    @property
    def waited(self) -> float:
        """Seconds for which the server's own call has been waiting, or for which the one before it has waited."""
        waiting = time.monotonic() - self._knocked_at if self._knocked_at is not None else 0.0
        return max(waiting, self._last_wait)

    @property
    def is_crowded(self) -> bool:
        """Whether it waits for too long."""
        return self.waited > LONGEST_WAIT_SECONDS

    @property
    def return_after(self) -> float:
        """Seconds after which whoever is refused may come back: the longer it has been crowded, the later."""
        return min(time.monotonic() - self._calm_at, LONGEST_RETURN_SECONDS)

    async def quiet(self) -> None:
        """Return when it is not crowded: what a stream sends can wait at its sender meanwhile."""
        while self.is_crowded:
            await self._answered.wait()
