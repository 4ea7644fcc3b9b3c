"""The relay: publishes the journal's rows to Kafka in their order, and checks that what it published is still there."""

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate

import structlog

from bridge.cloudevents import headers_of, of_topic, send_span
from bridge.crash import crash_point
from bridge.kafka import (
    NO_BROKER,
    Admin,
    Delivered,
    KafkaAccess,
    KafkaUnavailable,
    Outgoing,
    Publisher,
    Undelivered,
)
from bridge.pacing import Pacer
from bridge.ports import Checkpoint, Outbox, Published, StoreUnavailable
from bridge.record import Record
from bridge.settings import BridgeSettings
from clients.backoff import Backoff
from clients.telemetry import SpanSink, event_span_id

log = structlog.get_logger()

# Rows that the first look asks for; each next one asks for twice as many, up to `relay_batch`. What there is no room
# for is read in vain, and PostgreSQL's client has all of it in memory: the largest rows have 256 KiB.
FIRST_LIMIT = 32
SET_BACK = "the relay was set back, by another one or an operator: going on from there"


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
    """The topic is not the one that was published to, has lost records, or gets them again."""


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
                self.failed(error)
                await backoff.wait()

    def failed(self, error: Exception) -> None:
        """Show what is waited out."""
        self.state.last_error = f"{type(error).__name__}: {error}"
        self.state.last_error_at = datetime.now(UTC)
        log.warning("relay.waiting", error=self.state.last_error, position=self.state.position)


class _Pass:
    """From a checked start until something fails, or the certificate is renewed."""

    def __init__(self, relay: Relay, backoff: Backoff) -> None:
        self._relay = relay
        self._outbox = relay.outbox
        self._settings = relay.settings
        self._state = relay.state
        self._backoff = backoff
        self._certificate = relay.access.issued
        self._admin = Admin(relay.access)
        self._pacer = Pacer(seconds=relay.settings.pace_seconds)
        self._limit = FIRST_LIMIT
        self._looked = 0
        self._kept = 0
        self._topic_id = ""
        self._checked_at = 0.0
        self._rewinds = -1
        self._offsets: dict[int, int] = {}

    async def run(self) -> None:
        """Check, then publish what there is, as it comes, for as long as the certificate is the same."""
        await self._begin()
        publisher = Publisher(self._relay.access, self._settings)
        try:
            while self._certificate == self._relay.access.issued:
                records = await self._next()
                if records:
                    await self._publish(publisher, records)
                    await asyncio.sleep(self._pacer.delay())
                else:
                    self._succeeded()
                    await self._outbox.wait_beyond(self._looked)
                if self._is_due:
                    await self._check()
            log.info("relay.certificate_renewed")
        finally:
            await asyncio.to_thread(publisher.close)

    async def _begin(self) -> None:
        published = await self._check()
        self._looked = self._kept = self._state.position = published.position
        self._rewinds = published.rewinds
        self._offsets = {end.partition: end.offset for end in published.ends}

    async def _next(self) -> Sequence[Record]:
        # After a failure one row goes ahead: what is refused for good is repeated alone.
        limit = 1 if self._backoff.attempts else min(self._limit, self._settings.relay_batch)
        found, looked = await self._outbox.unpublished(self._looked, limit)
        records = within(found, self._settings.relay_bytes)
        if len(records) == len(found):
            self._looked, self._limit = looked, 2 * limit
        else:
            self._looked, self._limit = records[-1].position, len(records)
        self._state.looked = 0 if records else self._looked
        self._state.oldest_waiting = records[0].recorded_at if records else None
        return records

    async def _publish(self, publisher: Publisher, records: Sequence[Record]) -> None:
        started = time.time_ns()
        try:
            places = await publisher.publish([self._message(record) for record in records])
        except Undelivered as error:
            if error.places:
                await self._delivered(publisher, records, error.places, started)
            raise KafkaUnavailable(f"{error} (row {records[len(error.places)].position})") from error
        await self._delivered(publisher, records, places, started)
        self._succeeded()

    async def _delivered(
        self, publisher: Publisher, records: Sequence[Record], places: Sequence[Delivered], started: int
    ) -> None:
        """The first of the records lie at these places."""
        if publisher.lost:
            # Perhaps others have published where records of this journal were: its offsets would show nothing.
            raise KafkaUnavailable(NO_BROKER)
        gone_back = {place.partition for place in places if place.offset <= self._offsets.get(place.partition, -1)}
        if gone_back or self._is_due:
            # Offsets only grow on one and the same topic that has lost nothing.
            await self._check(gone_back)
        self._offsets.update((place.partition, place.offset) for place in places)
        crash_point("after-produce")
        published = list(zip(records, places, strict=False))
        await self._advance(published)
        self._state.published += len(published)
        self._pacer.passed(len(published))
        ended = time.time_ns()
        for record, place in published:
            if record.is_of_case:
                self._record_span(record, place, started, ended)

    async def _advance(self, published: Sequence[tuple[Record, Delivered]]) -> None:
        ends = {place.partition: self._checkpoint(record, place) for record, place in published}
        position = published[-1][0].position
        keep = position - self._kept >= self._settings.checkpoint_rows or self._kept == 0
        if not await self._stored(list(ends.values()), keep=keep):
            raise TopicChanged(SET_BACK)
        self._kept = position if keep else self._kept
        self._state.position = position

    async def _stored(self, ends: Sequence[Checkpoint], *, keep: bool) -> bool:
        """Until the database has it: a new pass would only publish the same rows again."""
        while True:
            try:
                return await self._outbox.advance(ends, self._rewinds, keep=keep)
            except StoreUnavailable as error:
                self._relay.failed(error)
                await self._backoff.wait()

    def _checkpoint(self, record: Record, place: Delivered) -> Checkpoint:
        return Checkpoint(record.position, self._topic_id, place.partition, place.offset, record.event_id)

    @property
    def _is_due(self) -> bool:
        return time.monotonic() - self._checked_at > self._settings.check_seconds

    def _succeeded(self) -> None:
        self._backoff.reset()
        self._state.last_error = ""

    async def _check(self, gone_back: Collection[int] = ()) -> Published:
        """Whether the topic still is the one that was published to, and holds the last record of each partition.

        Rewinds where not, and where offsets have gone back. Another relay of the same journal may have done so already.
        """
        known, self._topic_id = self._topic_id, await asyncio.to_thread(self._admin.topic_id, self._settings.topic)
        published = await self._outbox.published()
        if self._rewinds not in (-1, published.rewinds):
            raise TopicChanged(SET_BACK)
        lost = {end.partition for end in await self._missing(published.ends)}.union(gone_back)
        if lost:
            await self._rewind(published, lost)
            raise TopicChanged(f"records were lost behind position {self._state.position}: publishing them again")
        if known not in ("", self._topic_id):
            raise TopicChanged("the topic was made anew: going on behind what it holds")
        self._checked_at = time.monotonic()
        return published

    async def _missing(self, checkpoints: Sequence[Checkpoint]) -> Sequence[Checkpoint]:
        """Those that the topic does not hold; at most one a partition is asked for."""
        here = {
            Delivered(checkpoint.partition, checkpoint.offset): checkpoint.event_id
            for checkpoint in checkpoints
            if checkpoint.topic_id == self._topic_id
        }
        gone = await asyncio.to_thread(self._admin.missing, self._settings.topic, here)
        return [
            checkpoint
            for checkpoint in checkpoints
            if checkpoint.topic_id != self._topic_id or Delivered(checkpoint.partition, checkpoint.offset) in gone
        ]

    async def _rewind(self, published: Published, lost: Collection[int]) -> None:
        """To the newest checkpoint that each of these partitions still holds: what follows on it may be lost."""
        kept = await self._outbox.checkpoints()
        held = [await self._newest_held([each for each in kept if each.partition == number]) for number in lost]
        position = min([published.position, *(checkpoint.position if checkpoint else 0 for checkpoint in held)])
        ends = [end for end in published.ends if end.partition not in lost]
        ends += [checkpoint for checkpoint in held if checkpoint is not None]
        if not await self._outbox.rewind(Published(position, ends, published.rewinds)):
            raise TopicChanged(SET_BACK)
        self._state.position, self._state.looked = position, 0
        self._state.rewinds += 1
        log.warning("relay.rewound", position=position, was=published.position, partitions=sorted(lost))

    async def _newest_held(self, newest_first: Sequence[Checkpoint]) -> Checkpoint | None:
        for checkpoint in newest_first:
            if not await self._missing([checkpoint]):
                return checkpoint
        return None

    def _message(self, record: Record) -> Outgoing:
        return Outgoing(record.case_id.encode(), record.body, headers_of(record) | of_topic(self._topic_id))

    def _record_span(self, record: Record, place: Delivered, started: int, ended: int) -> None:
        self._relay.spans.record(
            f"send {self._settings.topic}",
            send_span(record),
            parent=event_span_id(record.event_id),
            kind="producer",
            start_ns=started,
            end_ns=ended,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": self._settings.topic,
                "messaging.destination.partition.id": str(place.partition),
                "messaging.kafka.offset": place.offset,
                "messaging.message.id": record.event_id,
                "messaging.message.conversation_id": record.case_id,
            },
        )


def within(records: Sequence[Record], size: int) -> Sequence[Record]:
    """The first of the records: at least one, and no more than so many bytes."""
    sizes = accumulate(len(record.body) for record in records)
    return records[: max(1, sum(total <= size for total in sizes))]
