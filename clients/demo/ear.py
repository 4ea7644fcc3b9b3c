"""What one party is told about one case."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

from ronghe.event.v1.event_pb2 import Event

M = TypeVar("M", bound=Message)


class Ear:
    """Facts in the order in which the party's inbox has them, each once however often it is delivered."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._events: list[Event] = []
        self._moments: list[float] = []
        self._ids: set[tuple[str, str]] = set()
        self._more = asyncio.Event()

    def tell(self, event: Event) -> None:
        """One more fact, now."""
        if (event.origin, event.id) in self._ids:
            return
        self._ids.add((event.origin, event.id))
        self.told.append(short_name(event))
        self._events.append(event)
        self._moments.append(time.monotonic())
        self._more.set()

    async def hear(self, kind: type[M], nth: int = 1) -> M:
        """The fact, as soon as it has come; the second one of its kind where `nth` is 2."""
        name = kind.DESCRIPTOR.name
        await self._until(lambda: self.told.count(name) >= nth)
        return self.facts(kind)[nth - 1]

    async def hear_all(self, count: int) -> None:
        """Return when so many facts have come."""
        await self._until(lambda: len(self.told) >= count)

    def facts(self, kind: type[M]) -> list[M]:
        """Those of a kind that have come."""
        return [unpacked(event, kind) for event in self._events if short_name(event) == kind.DESCRIPTOR.name]

    def moment(self, name: str) -> float | None:
        """When the first fact of this name came, on the monotonic clock."""
        return self._moments[self.told.index(name)] if name in self.told else None

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._more.clear()
            await self._more.wait()


def short_name(event: Event) -> str:
    """For example "Accepted"."""
    return event.fact.type_url.rpartition(".")[2]


def unpacked(event: Event, kind: type[M]) -> M:
    """The fact itself."""
    fact = kind()
    event.fact.Unpack(fact)
    return fact
