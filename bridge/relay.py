"""The relay: publishes the journal's rows to Kafka in their order, and checks that what it published is still there."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from bridge.cloudevents import headers_of, send_span
from bridge.crash import crash_point
from bridge.kafka import Admin, Delivered, KafkaAccess, KafkaUnavailable, Outgoing, Publisher
from bridge.pacing import Pacer
from bridge.ports import Checkpoint, Outbox, StoreUnavailable
from bridge.record import Record
from bridge.settings import BridgeSettings
from clients.backoff import Backoff
from clients.telemetry import SpanSink, event_span_id

log = structlog.get_logger()


@dataclass(slots=True)
class RelayState:
    """How the relay is doing."""

    position: int = 0
    """Everything up to here is on the topic."""
    looked: int = 0
    """Up to here there is nothing more to publish."""
    oldest_waiting: datetime | None = None
    last_error: str = ""
    last_error_at: datetime | None = None
    published: int = 0
    """Records published since start, repeats included."""
    rewinds: int = 0


class TopicChanged(Exception):
    """The topic is not the one that was published to, or has lost records."""


@dataclass(eq=False)
class Relay:
    """Publishes one journal. A second relay on the same journal only makes duplicates."""

    outbox: Outbox
    access: KafkaAccess
    settings: BridgeSettings
    spans: SpanSink
    state: RelayState = field(default_factory=RelayState)

    async def run(self) -> None:
        """Publish until cancelled; failures of Kafka or of the database are waited out."""
        backoff = Backoff(self.settings.retry_first_seconds, self.settings.retry_longest_seconds)
        while True:
            try:
                await _Pass(self, backoff).run()
            except (KafkaUnavailable, StoreUnavailable, TopicChanged) as error:
                self._failed(error)
                await backoff.wait()

    def _failed(self, error: Exception) -> None:
        self.state.last_error = f"{type(error).__name__}: {error}"
        self.state.last_error_at = datetime.now(UTC)
        log.warning("relay.waiting", error=self.state.last_error, position=self.state.position)


class _Pass:
    """From a checked start until something fails."""

    def __init__(self, relay: Relay, backoff: Backoff) -> None:
        self._relay = relay
        self._outbox = relay.outbox
        self._settings = relay.settings
        self._state = relay.state
        self._backoff = backoff
        self._admin = Admin(relay.access)
        self._pacer = Pacer(seconds=relay.settings.pace_seconds)
        self._looked = 0
        self._kept = 0
        self._topic_id = ""
        self._checked_at = 0.0
        self._offsets: dict[int, int] = {}

    async def run(self) -> None:
        """Check, then publish what there is, as it comes."""
        await self._begin()
        publisher = Publisher(self._relay.access, self._settings)
        try:
            while True:
                records = await self._next()
                if records:
                    await self._publish(publisher, records)
                    await asyncio.sleep(self._pacer.delay())
                else:
                    await self._outbox.wait_beyond(self._looked)
                if time.monotonic() - self._checked_at > self._settings.check_seconds:
                    await self._check()
        finally:
            await asyncio.to_thread(publisher.close)

    async def _begin(self) -> None:
        last = await self._check()
        if last is not None:
            self._looked = self._kept = self._state.position = last.position
        self._succeeded()

    async def _next(self) -> Sequence[Record]:
        records, self._looked = await self._outbox.unpublished(self._looked, self._settings.relay_batch)
        self._state.looked = 0 if records else self._looked
        self._state.oldest_waiting = records[0].recorded_at if records else None
        return records

    async def _publish(self, publisher: Publisher, records: Sequence[Record]) -> None:
        started = time.time_ns()
        places = await self._acknowledged(publisher, records)
        if any(place.offset <= self._offsets.get(place.partition, -1) for place in places):
            # Offsets only grow on one and the same topic.
            await self._check()
        self._offsets.update((place.partition, place.offset) for place in places)
        crash_point("after-produce")
        await self._advance(records[-1], places[-1])
        self._state.published += len(records)
        self._pacer.passed(len(records))
        self._succeeded()
        for record, place in zip(records, places, strict=True):
            self._record_span(record, place, started)

    async def _acknowledged(self, publisher: Publisher, records: Sequence[Record]) -> Sequence[Delivered]:
        seconds = self._settings.acknowledge_seconds
        try:
            async with asyncio.timeout(seconds):
                return await publisher.publish([_message(record) for record in records])
        except TimeoutError as error:
            raise KafkaUnavailable(f"no acknowledgement within {seconds:g} s") from error

    async def _advance(self, record: Record, place: Delivered) -> None:
        last = Checkpoint(record.position, self._topic_id, place.partition, place.offset, str(record.event_id))
        keep = last.position - self._kept >= self._settings.checkpoint_rows or self._kept == 0
        await self._outbox.advance(last, keep=keep)
        self._kept = last.position if keep else self._kept
        self._state.position = last.position

    def _succeeded(self) -> None:
        self._backoff.reset()
        self._state.last_error = ""

    async def _check(self) -> Checkpoint | None:
        """Whether the topic still is the one that was published to, and still holds the last record; gives that one.

        Rewinds where not. Another relay of the same journal may have done so already.
        """
        known, self._topic_id = self._topic_id, await asyncio.to_thread(self._admin.topic_id, self._settings.topic)
        last = await self._outbox.last_published()
        if last is not None and not await self._holds(last):
            await self._rewind(last)
            raise TopicChanged(f"records were lost behind position {self._state.position}: publishing them again")
        if known not in ("", self._topic_id):
            raise TopicChanged("the topic was made anew: going on behind what it holds")
        self._checked_at = time.monotonic()
        return last

    async def _holds(self, checkpoint: Checkpoint) -> bool:
        if checkpoint.topic_id != self._topic_id:
            return False
        place = Delivered(checkpoint.partition, checkpoint.offset)
        return await asyncio.to_thread(self._admin.holds, self._settings.topic, place, checkpoint.event_id)

    async def _rewind(self, last: Checkpoint) -> None:
        """To the newest checkpoint that still holds; a row behind it may lie on a partition that lost it."""
        for checkpoint in await self._outbox.checkpoints():
            if checkpoint.position < last.position and await self._holds(checkpoint):
                break
        else:
            checkpoint = None
        await self._outbox.rewind(checkpoint)
        self._state.position = checkpoint.position if checkpoint else 0
        self._state.looked = 0
        self._state.rewinds += 1
        log.warning("relay.rewound", position=self._state.position, was=last.position)

    def _record_span(self, record: Record, place: Delivered, started: int) -> None:
        self._relay.spans.record(
            f"send {self._settings.topic}",
            send_span(record),
            parent=event_span_id(record.event_id),
            kind="producer",
            start_ns=started,
            end_ns=time.time_ns(),
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": self._settings.topic,
                "messaging.destination.partition.id": str(place.partition),
                "messaging.kafka.offset": place.offset,
                "messaging.message.id": str(record.event_id),
                "messaging.message.conversation_id": record.case_id,
            },
        )


def _message(record: Record) -> Outgoing:
    return Outgoing(record.case_id.encode(), record.body, headers_of(record))
