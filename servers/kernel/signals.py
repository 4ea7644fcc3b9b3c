"""Wake-ups inside one process: who waits for the journal to grow, or for something in an inbox."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

# Another replica's commits are seen by looking; NOTIFY only makes it sooner.
LOOK_SECONDS = 1.0


class Signals:
    """Lives on the event loop."""

    def __init__(self, position: int) -> None:
        self.position = position
        self._grown = asyncio.Event()
        self._inboxes: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def committed(self, position: int, receivers: Iterable[str]) -> None:
        """The journal has grown, and these inboxes with it."""
        self.position = max(self.position, position)
        self._grown.set()
        self._grown = asyncio.Event()
        for name in receivers:
            event = self._inboxes.pop(name, None)
            if event is not None:
                event.set()

    def touch(self) -> None:
        """Another replica may have written: let every waiter look."""
        self.committed(self.position, list(self._inboxes))

    async def beyond(self, position: int) -> None:
        """Return when the journal is beyond the position, or when it is time to look."""
        if self.position <= position:
            await _wait(self._grown)

    def inbox(self, receiver: str) -> asyncio.Event:
        """Set at the receiver's next item. Take it before you look, wait after."""
        return self._inboxes[receiver]


async def _wait(event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await event.wait()
    except TimeoutError:
        return
