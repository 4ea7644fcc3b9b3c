"""After a restore: what this deployment has said and heard since the backup is on the topic, and is learned again.

The topic is read twice. First its own events are looked for: what a reaction or a timer says again now is what it said
then, since the id of such an event derives from its cause, and everybody else has the event as it was. Then all records
are taken in, in the topic's order, in which each case's causes come before their effects.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from bridge.cloudevents import decode, source_of, type_of
from bridge.kafka import Incoming, KafkaAccess, KafkaUnavailable, everything
from bridge.ports import Arrived, Undecodable
from bridge.record import Record
from bridge.settings import BridgeSettings
from clients.backoff import Backoff

log = structlog.get_logger()


class Student(Protocol):
    """The journal that has been restored."""

    async def lacking(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those that it does not have."""

    async def relearn(self, items: Sequence[Arrived | Undecodable], originals: Mapping[str, Record]) -> None:
        """Take the items in; durable on return. `originals`: its own events on the topic, by id."""


@dataclass(slots=True)
class Relearned:
    """What was learned again."""

    own: int = 0
    foreign: int = 0


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is read, and by whom."""

    student: Student
    access: KafkaAccess
    settings: BridgeSettings
    origin: str
    wanted: Callable[[str], bool]
    """By event type: foreign events that it takes in."""

    async def learn(self) -> Relearned:
        """Read everything; a broker that does not answer is waited for. Once more does no harm."""
        backoff = Backoff(self.settings.retry_first_seconds, self.settings.retry_longest_seconds)
        while True:
            try:
                return await self._read()
            except KafkaUnavailable as error:
                log.warning("relearning.waiting", error=str(error))
                await backoff.wait()

    async def _read(self) -> Relearned:
        learned = Relearned()
        originals: dict[str, Record] = {}
        async for items in self._messages(lambda message: source_of(message.headers) == self.origin):
            lacking = await self.student.lacking([item.record for item in items if isinstance(item, Arrived)])
            originals |= {str(record.event_id): record for record in lacking}
        learned.own = len(originals)
        async for items in self._messages(self._concerns):
            lacking = await self.student.lacking([item.record for item in items if isinstance(item, Arrived)])
            learned.foreign += sum(record.origin != self.origin for record in lacking)
            await self.student.relearn(items, originals)
        return learned

    def _concerns(self, message: Incoming) -> bool:
        return source_of(message.headers) == self.origin or self.wanted(type_of(message.headers))

    async def _messages(self, wanted: Callable[[Incoming], bool]) -> AsyncIterator[Sequence[Arrived | Undecodable]]:
        reading = everything(self.access, self.settings)
        while (messages := await asyncio.to_thread(_next, reading)) is not None:
            yield [self._decode(message) for message in messages if wanted(message)]

    def _decode(self, message: Incoming) -> Arrived | Undecodable:
        source = f"kafka/{self.settings.topic}/relearned/{message.partition}/{message.offset}"
        return decode(source, message.key, message.value, message.headers)


def _next(reading: Iterator[Sequence[Incoming]]) -> Sequence[Incoming] | None:
    return next(reading, None)
