"""After a restore: what this deployment has said and heard since the backup is on the topic, and is learned again.

The topic is read twice. First its own events are looked for: what a reaction or a timer says again now is what it said
then, since the id of such an event derives from its cause, and everybody else has the event as it was. Then all records
are taken in, each case's in the order in which they were taken in the first time, as far as its own events tell.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import structlog

from bridge.cloudevents import decode, is_meant_for, source_of, type_of
from bridge.kafka import Admin, Incoming, KafkaAccess, KafkaUnavailable, everything
from bridge.ports import Arrived, StoreUnavailable, Undecodable
from bridge.record import Arrival, Record
from bridge.settings import BridgeSettings
from clients.backoff import Backoff

T = TypeVar("T")

log = structlog.get_logger()


class Student(Protocol):
    """The journal that has been restored."""

    async def lacking(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those that it does not have. Raises StoreUnavailable."""

    async def relearn(
        self, items: Sequence[Arrived | Undecodable], originals: Mapping[str, Record], left_behind: set[str]
    ) -> None:
        """Take the items in; durable on return. `originals`: its own events on the topic, by id.

        `left_behind`: cases of which something others said could not be taken in: what follows waits for it, and both
        come again by other ways. It grows. Raises StoreUnavailable: what was under way may be durable.
        """


@dataclass(slots=True)
class Relearned:
    """What was learned again."""

    own: Collection[str] = ()
    """Ids of its own events."""
    foreign: int = 0


@dataclass(slots=True)
class Order:
    """The order in which a case's records were taken in, from that of the topic.

    On the topic a foreign record may stand before own ones that were said before it came: a withdrawal before the
    decision that it met. Own events name what their streams had taken in last: so foreign ones wait until an own one
    names them, or until there is no further own one.
    """

    own: Iterable[Record]
    """All that are to come."""
    _coming: set[str] = field(default_factory=set)
    _of_case: Counter[str] = field(default_factory=Counter)
    _waiting: dict[str, list[Arrived | Undecodable]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._coming = {record.event_id for record in self.own}
        self._of_case = Counter(record.case_id for record in self.own)

    def then(self, item: Arrived | Undecodable) -> Sequence[Arrived | Undecodable]:
        """What may be taken in now that the topic has this."""
        case_id = item.case_id if isinstance(item, Undecodable) else item.record.case_id
        if not self._of_case[case_id]:
            return [item]
        waiting = self._waiting[case_id]
        if isinstance(item, Undecodable) or item.record.event_id not in self._coming:
            waiting.append(item)
            return []
        record = item.record
        self._coming.remove(record.event_id)
        self._of_case[case_id] -= 1
        named = [place for place, each in enumerate(waiting, 1) if _id(each) in record.causes]
        before = waiting[: max(named, default=0)]
        del waiting[: len(before)]
        after = self._waiting.pop(case_id) if not self._of_case[case_id] else []
        return [*before, item, *after]

    def rest(self) -> Sequence[Arrived | Undecodable]:
        """What waits still, where the topic has fewer own events than it had."""
        return [item for waiting in self._waiting.values() for item in waiting]


def _id(item: Arrived | Undecodable) -> str:
    return item.record.event_id if isinstance(item, Arrived) else ""


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
        """Read everything. A broker or a database that does not answer is waited for; once more does no harm."""
        backoff = self._backoff()
        while True:
            try:
                return await self._read()
            except KafkaUnavailable as error:
                log.warning("relearning.waiting", error=str(error))
                await backoff.wait()

    async def _read(self) -> Relearned:
        learned = Relearned()
        topic_id = await asyncio.to_thread(Admin(self.access).topic_id, self.settings.topic)
        originals: dict[str, Record] = {}
        async for items in self._messages(topic_id, lambda message: source_of(message.headers) == self.origin):
            for record in await self._lacking(items):
                if record.arrival is Arrival.KAFKA or record.event_id not in originals:
                    originals[record.event_id] = record
        learned.own = originals.keys()
        order, left_behind = Order(originals.values()), set[str]()
        async for found in self._messages(topic_id, self._concerns):
            items = [item for item in found if not self._is_passed_over(item, originals, topic_id)]
            learned.foreign += sum(record.origin != self.origin for record in await self._lacking(items))
            await self._relearn([each for item in items for each in order.then(item)], originals, left_behind)
        await self._relearn(order.rest(), originals, left_behind)
        if left_behind:
            log.warning("relearning.left_behind", cases=len(left_behind))
        return learned

    async def _lacking(self, items: Sequence[Arrived | Undecodable]) -> Sequence[Record]:
        records = [item.record for item in items if isinstance(item, Arrived)]
        return await waited_out(lambda: self.student.lacking(records), self._backoff())

    async def _relearn(
        self, items: Sequence[Arrived | Undecodable], originals: Mapping[str, Record], left_behind: set[str]
    ) -> None:
        await waited_out(lambda: self.student.relearn(items, originals, left_behind), self._backoff())

    def _backoff(self) -> Backoff:
        return Backoff(self.settings.retry_first_seconds, self.settings.retry_longest_seconds)

    def _concerns(self, message: Incoming) -> bool:
        return source_of(message.headers) == self.origin or self.wanted(type_of(message.headers))

    async def _messages(
        self, topic_id: str, wanted: Callable[[Incoming], bool]
    ) -> AsyncIterator[Sequence[Arrived | Undecodable]]:
        reading = everything(self.access, self.settings)
        while (messages := await asyncio.to_thread(_next, reading)) is not None:
            yield [self._decode(message, topic_id) for message in messages if wanted(message)]

    def _decode(self, message: Incoming, topic_id: str) -> Arrived | Undecodable:
        """What was meant for another topic nobody has taken in from this one: it did not arrive by Kafka.

        An own record is to be published again, then; a foreign one comes again, published by its own relay.
        """
        source = f"kafka/{self.settings.topic}/relearned/{message.partition}/{message.offset}"
        item = decode(source, message.key, message.value, message.headers)
        if isinstance(item, Undecodable) or is_meant_for(topic_id, message.headers):
            return item
        return Arrived(item.record._replace(arrival=Arrival.OWN), source)

    def _is_passed_over(self, item: Arrived | Undecodable, originals: Mapping[str, Record], topic_id: str) -> bool:
        """Whether it was meant for another topic, and there is, or will be, one that is meant for this.

        What cannot be read is passed over where the consumer passes over it.
        """
        if isinstance(item, Undecodable):
            return source_of(item.headers) == self.origin or not is_meant_for(topic_id, item.headers)
        if item.record.arrival is Arrival.KAFKA:
            return False
        original = originals.get(item.record.event_id)
        return original is None or original.arrival is Arrival.KAFKA


async def waited_out(ask: Callable[[], Awaitable[T]], backoff: Backoff) -> T:
    """The database's answer, whenever it comes: what was read of the topic until then need not be read again."""
    while True:
        try:
            return await ask()
        except StoreUnavailable as error:
            log.warning("relearning.waiting", error=str(error))
            await backoff.wait()


def _next(reading: Iterator[Sequence[Incoming]]) -> Sequence[Incoming] | None:
    return next(reading, None)
