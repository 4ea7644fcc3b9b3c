"""The consumer: takes records from Kafka into the journal; where to go on is stored with them, in one transaction."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from bridge.cloudevents import decode, id_of, is_meant_for, source_of, type_of
from bridge.crash import crash_point
from bridge.kafka import Admin, Delivered, Incoming, KafkaAccess, KafkaUnavailable, Subscriber
from bridge.pacing import Pacer
from bridge.ports import Arrived, Cursor, Sink, StoreUnavailable, Undecodable
from bridge.settings import BridgeSettings
from clients.backoff import Backoff
from clients.telemetry import SEND, SpanContext, SpanSink, hop_span_id, trace_id

log = structlog.get_logger()

# Where only unwanted records came, it is enough to store once a second how far they were looked through.
SKIP_SECONDS = 1.0
# Kafka's own offsets are for its tools to show a lag.
COMMIT_SECONDS = 1.0
# Twice as long as the client library waits for an answer of a broker that hangs.
ENDS_SECONDS = 120.0
# Nothing of a partition came between so many checks, though the broker has more and nothing waits here: the client
# library does not fetch it any more.
STANDS_CHECKS = 6


@dataclass(slots=True)
class ConsumerState:
    """How the consumer is doing."""

    next_offsets: dict[int, int] = field(default_factory=dict)
    """Of the partitions that this process has."""
    lags: dict[int, int] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)
    """Records that were gone from a partition before they were read."""
    last_error: str = ""
    taken: int = 0


class NeverEnds(Exception):
    """A subscriber that was dropped does not end: the library takes a core for it while the process lives."""


class Endings:
    """Where subscribers end that were dropped."""

    def __init__(self) -> None:
        self._since: dict[threading.Thread, float] = {}

    def add(self, thread: threading.Thread) -> None:
        """One was dropped."""
        self._since[thread] = time.monotonic()

    def check(self) -> None:
        """Forget those that have ended. Raises NeverEnds where one has taken too long."""
        self._since = {thread: since for thread, since in self._since.items() if thread.is_alive()}
        if any(time.monotonic() - since > ENDS_SECONDS for since in self._since.values()):
            raise NeverEnds(f"a subscriber has not ended for {ENDS_SECONDS:.0f} s")


class Progress:
    """Which partitions do not move."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, int]] = {}
        """Partition -> where it was seen last, and for how many checks it has been there with more to come."""

    def begin(self, partition: int) -> None:
        """It is ours from now on."""
        self._seen.pop(partition, None)

    def standing(self, next_offsets: Mapping[int, int], ends: Mapping[int, int]) -> Sequence[int]:
        """One more check: those of which nothing has come for long, though the broker has more."""
        for partition, offset in next_offsets.items():
            seen, checks = self._seen.get(partition, (offset, 0))
            waits = offset == seen and offset < ends.get(partition, 0)
            self._seen[partition] = offset, checks + 1 if waits else 0
        return [partition for partition in next_offsets if self._seen[partition][1] > STANDS_CHECKS]


@dataclass(eq=False)
class KafkaConsumer:
    """Feeds one journal. Every process of a database is in one consumer group, and takes in whole cases in order."""

    sink: Sink
    access: KafkaAccess
    settings: BridgeSettings
    spans: SpanSink
    group: str
    origin: str
    """Records that this deployment published itself are passed over."""
    wanted: Callable[[str], bool]
    """By event type; a type that is not known yet is wanted."""
    instance: str = ""
    """Name of this process in its group, the same after each start: it has its partitions back at once."""
    state: ConsumerState = field(default_factory=ConsumerState)
    endings: Endings = field(default_factory=Endings)
    unstored: Sequence[Cursor] = ()
    """How far records were read that could not be stored: they come again, here or to another process."""

    async def run(self) -> None:
        """Take records in until cancelled; failures are waited out. Raises NeverEnds."""
        backoff = Backoff(self.settings.retry_first_seconds, self.settings.retry_longest_seconds)
        while True:
            try:
                await _Session(self, backoff).run()
            except (KafkaUnavailable, StoreUnavailable) as error:
                self.state.last_error = f"{type(error).__name__}: {error}"
                log.warning("consumer.waiting", error=self.state.last_error)
                await backoff.wait()
            self.endings.check()


class _Session:
    """One membership in the group.

    It ends when the store does not answer, the topic is another one, the certificate was renewed, no broker was
    reachable for a while, or a partition stands still: what was read and not stored is read again by the next one.
    """

    def __init__(self, consumer: KafkaConsumer, backoff: Backoff) -> None:
        self._consumer = consumer
        self._settings = consumer.settings
        self._state = consumer.state
        self._backoff = backoff
        self._loop = asyncio.get_running_loop()
        self._certificate = consumer.access.issued
        self._admin = Admin(consumer.access)
        self._pacer = Pacer(seconds=consumer.settings.pace_seconds)
        self._topic_id = ""
        self._last_ids: dict[int, str] = {}
        self._reached: dict[int, int] = {}
        """What comes next on a partition, at the latest: its offsets have no gaps."""
        self._moved: set[int] = set()
        self._progress = Progress()
        self._is_drained = False
        """Whether what was fetched has all been read since the last check."""
        self._stored_at = self._checked_at = time.monotonic()
        self._committed_at = 0.0

    async def run(self) -> None:
        """Take records in, always one batch ahead."""
        await self._stored_cursors()  # nobody joins the group without a store
        self._topic_id = await self._current_topic()
        for figures in (self._state.next_offsets, self._state.lags, self._state.lost):
            figures.clear()
        subscriber = Subscriber(
            self._consumer.access,
            self._settings,
            self._consumer.group,
            self._start_at,
            self._on_revoked,
            self._consumer.instance,
        )
        self._reading = self._read(subscriber)
        try:
            while not await self._is_over():
                # Shielded: the thread must have left the subscriber before it is closed.
                messages = await asyncio.shield(self._reading)
                self._is_drained = self._is_drained or len(messages) < self._settings.consume_batch
                self._consumer.endings.check()
                if subscriber.lost:
                    # Perhaps what was to come next is lost, and these stand behind its gap.
                    break
                await asyncio.sleep(self._pacer.delay())
                self._reading = self._read(subscriber)
                await self._take(subscriber, messages)
                self._note_lags(subscriber)
        finally:
            await asyncio.gather(self._reading, return_exceptions=True)
            self._consumer.endings.add(subscriber.close())

    def _read(self, subscriber: Subscriber) -> "asyncio.Task[list[Incoming]]":
        return asyncio.create_task(asyncio.to_thread(subscriber.consume))

    async def _current_topic(self) -> str:
        return await asyncio.to_thread(self._admin.topic_id, self._settings.topic)

    async def _is_over(self) -> bool:
        if time.monotonic() - self._checked_at <= self._settings.check_seconds:
            return False
        self._checked_at = time.monotonic()
        if self._certificate != self._consumer.access.issued:
            log.info("consumer.certificate_renewed")
            return True
        await self._look_for_unstored()
        is_another = await self._current_topic() != self._topic_id
        if is_another:
            log.warning("consumer.topic_changed", topic=self._settings.topic)
        return is_another or await self._stands_still()

    async def _look_for_unstored(self) -> None:
        """What could not be stored here may have gone to another process with its partition, and is stored by now."""
        if not self._consumer.unstored:
            return
        ours = [cursor for cursor in await self._stored_cursors() if cursor.value["topic_id"] == self._topic_id]
        stored = {cursor.name: int(cursor.value["next_offset"]) for cursor in ours}
        self._consumer.unstored = [
            cursor
            for cursor in self._consumer.unstored
            if cursor.value["topic_id"] == self._topic_id
            and stored.get(cursor.name, 0) < int(cursor.value["next_offset"])
        ]
        if not self._consumer.unstored:
            self._state.last_error = ""

    async def _stands_still(self) -> bool:
        topic, offsets = self._settings.topic, self._state.next_offsets
        if not self._is_drained:
            self._progress = Progress()  # others may have come first
        self._is_drained = False
        ends = await asyncio.to_thread(self._admin.ends, topic, list(offsets))
        standing = self._progress.standing(offsets, ends)
        # What was not read yet may be gone: its time was over.
        begins = await asyncio.to_thread(self._admin.begins, topic, standing)
        standing = [partition for partition in standing if begins.get(partition, 0) < ends[partition]]
        for partition in standing:
            log.error("consumer.stands_still", partition=partition, next_offset=offsets.get(partition))
        return bool(standing)

    # --- where to begin; called on the thread that consumes ---

    def _start_at(self, partitions: Sequence[int]) -> Mapping[int, int]:
        asked = asyncio.run_coroutine_threadsafe(self._stored_cursors(), self._loop)
        found = {each.name: each.value for each in asked.result()}
        stored = {number: found.get(self._cursor_name(number), {}) for number in partitions}
        known = self._current(stored)
        for number, value in stored.items():
            last = str(value["event_id"]) if number in known else ""
            self._loop.call_soon_threadsafe(self._begin, number, known.get(number), last, int(value.get("lost", 0)))
        log.info("consumer.assigned", offsets={number: known.get(number) for number in partitions})
        return known

    async def _stored_cursors(self) -> Sequence[Cursor]:
        return await self._consumer.sink.cursors(f"kafka/{self._settings.topic}/")

    def _current(self, stored: Mapping[int, Mapping[str, str | int]]) -> Mapping[int, int]:
        """Where to go on in the partitions of the topic that was read, which still hold what was read last.

        In others something else came instead, which must be read.
        """
        next_offsets = {
            number: int(value["next_offset"])
            for number, value in stored.items()
            if value and value["topic_id"] == self._topic_id
        }
        last = {
            Delivered(number, offset - 1): str(stored[number]["event_id"]) for number, offset in next_offsets.items()
        }
        gone = {place.partition for place in self._admin.missing(self._settings.topic, last)}
        return {number: offset for number, offset in next_offsets.items() if number not in gone}

    def _on_revoked(self, partitions: Sequence[int]) -> None:
        self._loop.call_soon_threadsafe(self._forget, partitions)

    def _begin(self, partition: int, offset: int | None, last: str, lost: int) -> None:
        self._progress.begin(partition)
        self._state.next_offsets[partition] = offset or 0
        self._state.lost[partition] = lost
        self._last_ids[partition] = last
        if offset is not None:
            self._reached[partition] = max(offset, self._reached.get(partition, 0))
        if not self._consumer.unstored:
            self._state.last_error = ""

    def _forget(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            self._state.next_offsets.pop(partition, None)
            self._state.lags.pop(partition, None)
            self._state.lost.pop(partition, None)
            self._moved.discard(partition)

    def _cursor_name(self, partition: int) -> str:
        return f"kafka/{self._settings.topic}/{partition}"

    # --- taking in ---

    async def _take(self, subscriber: Subscriber, messages: Sequence[Incoming]) -> None:
        received = time.time_ns()
        # A partition may have been given up by the very call that gave a message of it: whoever has it now reads that.
        messages = [message for message in messages if message.partition in self._state.next_offsets]
        wanted = [message for message in messages if self._is_wanted(message)]
        items = [self._decode(message) for message in self._meant(wanted)]
        for message in messages:
            self._pass(message)
        if items or (self._moved and time.monotonic() - self._stored_at > SKIP_SECONDS):
            await self._store(subscriber, items)
            self._pacer.passed(len(items))
        for item in items:
            if isinstance(item, Arrived) and item.record.is_of_case:
                self._record_span(item, received)

    def _is_wanted(self, message: Incoming) -> bool:
        return source_of(message.headers) != self._consumer.origin and self._consumer.wanted(type_of(message.headers))

    def _meant(self, messages: Sequence[Incoming]) -> Sequence[Incoming]:
        """Without those that were on their way while the topic was made anew: they come again, in their turn."""
        meant = [message for message in messages if is_meant_for(self._topic_id, message.headers)]
        if len(meant) < len(messages):
            log.info("consumer.passed_over", topic=self._settings.topic, count=len(messages) - len(meant))
        return meant

    def _decode(self, message: Incoming) -> Arrived | Undecodable:
        # A topic made anew counts from 0 again: its id tells its places from those of the one before.
        source = f"kafka/{self._settings.topic}/{self._topic_id}/{message.partition}/{message.offset}"
        return decode(source, message.key, message.value, message.headers)

    def _pass(self, message: Incoming) -> None:
        expected = self._reached.get(message.partition, message.offset)
        if message.offset > expected:
            self._note_lost(message.partition, expected, message.offset)
        self._reached[message.partition] = max(expected, message.offset + 1)
        self._state.next_offsets[message.partition] = message.offset + 1
        self._last_ids[message.partition] = id_of(message.headers)
        self._moved.add(message.partition)

    def _note_lost(self, partition: int, expected: int, offset: int) -> None:
        """The topic's retention passed what was not read yet: going on, nothing else would bring it back."""
        self._state.lost[partition] = self._state.lost.get(partition, 0) + offset - expected
        log.error(
            "consumer.records_lost",
            topic=self._settings.topic,
            partition=partition,
            expected=expected,
            found=offset,
            count=offset - expected,
        )

    async def _store(self, subscriber: Subscriber, items: Sequence[Arrived | Undecodable]) -> None:
        cursors = [self._cursor(partition) for partition in self._moved]
        self._moved.clear()
        self._consumer.unstored = cursors
        await self._consumer.sink.absorb(items, cursors)
        self._consumer.unstored = ()
        crash_point("after-offset")
        self._stored(subscriber, len(items))

    def _stored(self, subscriber: Subscriber, count: int) -> None:
        if time.monotonic() - self._committed_at > COMMIT_SECONDS:
            subscriber.commit(dict(self._state.next_offsets))
            self._committed_at = time.monotonic()
        self._stored_at = time.monotonic()
        self._state.taken += count
        self._state.last_error = ""
        self._backoff.reset()

    def _cursor(self, partition: int) -> Cursor:
        value: dict[str, str | int] = {
            "topic_id": self._topic_id,
            "next_offset": self._state.next_offsets[partition],
            "event_id": self._last_ids[partition],
            "lost": self._state.lost.get(partition, 0),
        }
        return Cursor(self._cursor_name(partition), value)

    def _note_lags(self, subscriber: Subscriber) -> None:
        for partition, offset in self._state.next_offsets.items():
            self._state.lags[partition] = subscriber.lag(partition, offset)

    def _record_span(self, item: Arrived, received: int) -> None:
        record = item.record
        partition, _, offset = item.source.rpartition("/")
        self._consumer.spans.record(
            f"process {self._settings.topic}",
            SpanContext(trace_id(record.case_id), hop_span_id(record.event_id, f"process {self._consumer.origin}")),
            parent=hop_span_id(record.event_id, SEND),
            kind="consumer",
            start_ns=received,
            end_ns=time.time_ns(),
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": self._settings.topic,
                "messaging.destination.partition.id": partition.rpartition("/")[2],
                "messaging.kafka.offset": int(offset),
                "messaging.consumer.group.name": self._consumer.group,
                "messaging.message.id": record.event_id,
                "messaging.message.conversation_id": record.case_id,
            },
        )
