"""How long calls wait before anybody sees them, and what is refused for it.

Calls that come faster than they are looked at wait inside the transport library, which does not say how many there are,
nor since when, until their callers give up. So the server calls itself, time after time: its own call waits as long as
theirs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import grpc

from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused

KNOCK_SECONDS = 0.25
# While its own call waits for longer, a server refuses other calls: that takes it a third of the time of doing them.
LONGEST_WAIT_SECONDS = 1.0


class Door:
    """Crowded or not."""

    def __init__(self) -> None:
        self._knocked_at: float | None = None
        self._answered = asyncio.Event()

    async def watch(self, knock: Callable[[], Awaitable[object]]) -> None:
        """Make such a call time after time, until cancelled. One that fails says nothing of how long others wait."""
        while True:
            self._knocked_at = time.monotonic()
            with suppress(grpc.aio.AioRpcError):
                await knock()
            self._knocked_at = None
            self._answered.set()
            self._answered = asyncio.Event()
            await asyncio.sleep(KNOCK_SECONDS)

    @property
    def waited(self) -> float:
        """Seconds for which the server's own call has been waiting."""
        return time.monotonic() - self._knocked_at if self._knocked_at is not None else 0.0

    @property
    def is_crowded(self) -> bool:
        """Whether it waits for too long."""
        return self.waited > LONGEST_WAIT_SECONDS

    def enter(self) -> None:
        """Raise Refused where it is crowded."""
        if self.is_crowded:
            raise Refused(Reason.REASON_OVERLOADED, f"calls wait for {self.waited:.1f} s: try again later")

    async def quiet(self) -> None:
        """Return when it is not crowded: what a stream sends can wait at its sender meanwhile."""
        while self.is_crowded:
            await self._answered.wait()
