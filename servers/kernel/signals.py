"""Wake-ups inside one process: who waits for the journal to grow, or for something in an inbox."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

# Another replica's commits are seen by looking; there is no wake-up across processes.
LOOK_SECONDS = 1.0


class Signals:
    """Lives on the event loop."""

    def __init__(self, position: int) -> None:
        self.position = position
        self._grown = asyncio.Event()
        self._inboxes: dict[str, set[Callable[[], None]]] = defaultdict(set)

    def committed(self, position: int, receivers: Iterable[str]) -> None:
        """The journal has grown, and these inboxes with it."""
        self.position = max(self.position, position)
        self._grown.set()
        self._grown = asyncio.Event()
        for name in receivers:
            for grown in self._inboxes.get(name, ()):
                grown()

    async def beyond(self, position: int) -> None:
        """Return when the journal is beyond the position, or when it is time to look."""
        if self.position <= position:
            await wait(self._grown, LOOK_SECONDS)

    @contextmanager
    def inbox(self, receiver: str, grown: Callable[[], None]) -> Iterator[None]:
        """Within the block `grown` is called whenever the receiver gets something."""
        self._inboxes[receiver].add(grown)
        try:
            yield
        finally:
            self._inboxes[receiver].discard(grown)
            if not self._inboxes[receiver]:
                del self._inboxes[receiver]


async def wait(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event was set within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
