"""Wake-ups inside one process: who waits for the journal to grow, or for something in an inbox."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from servers.kernel.inbox import Item

# Another replica's commits are seen by looking; there is no wake-up across processes.
LOOK_SECONDS = 1.0

Grown = Callable[[Sequence[Item]], None]


class Signals:
    """Lives on the event loop."""

    def __init__(self, position: int) -> None:
        self.position = position
        self._grown = asyncio.Event()
        self._inboxes: dict[str, set[Grown]] = defaultdict(set)

    def committed(self, position: int, delivered: Mapping[str, Sequence[Item]]) -> None:
        """The journal has grown, and these inboxes with it."""
        self.position = max(self.position, position)
        self._grown.set()
        self._grown = asyncio.Event()
        for name, items in delivered.items():
            for grown in self._inboxes.get(name, ()):
                grown(items)

    async def beyond(self, position: int) -> None:
        """Return when the journal is beyond the position, or when it is time to look."""
        if self.position <= position:
            await wait(self._grown, LOOK_SECONDS)

    @contextmanager
    def inbox(self, receiver: str, grown: Grown) -> Iterator[None]:
        """Within the block `grown` is called with what the receiver gets, in order; another replica's is not told."""
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
