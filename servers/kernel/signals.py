"""Wake-ups: who waits for the journal to grow, or for something in an inbox."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from servers.kernel.inbox import Item

# What another replica has committed is heard of, or seen by looking where it was not heard.
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

    def heard(self, position: int) -> None:
        """Another replica has written, perhaps up to this position: everyone shall look."""
        self.committed(position, dict.fromkeys(self._inboxes, ()))

    async def beyond(self, position: int) -> None:
        """Return when the journal is beyond the position, or when it is time to look."""
        if self.position <= position:
            await wait(self._grown, LOOK_SECONDS)

    @contextmanager
    def inbox(self, receiver: str, grown: Grown) -> Iterator[None]:
        """Within the block `grown` is called with what the receiver gets, in order; with nothing: look for yourself."""
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
