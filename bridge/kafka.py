"""Kafka, for the rest of the bridge. The only module that imports the client library."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined] # the last one is re-exported in passing
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
)
from confluent_kafka.cimpl import NewTopic

from bridge.cloudevents import id_of
from bridge.settings import BridgeSettings
from clients.credentials import Credentials, CredentialsError
from clients.identity import Identity

Client = TypeVar("Client")

log = structlog.get_logger()

ADMIN_SECONDS = 5.0
# For what is looked at time after time, and may be looked at again.
LOOK_SECONDS = 1.0
LATE = "a broker did not answer in time"
NO_BROKER = "no broker was reachable for a while: looking first what the topic holds"

URL_SAFE = str.maketrans("+/", "-_")


class KafkaUnavailable(Exception):
    """The brokers do not answer, or refuse; the text is the client library's."""


class Undelivered(KafkaUnavailable):
    """Not all of a batch was delivered; its first messages were, without a gap, to these places."""

    def __init__(self, text: str, places: Sequence["Delivered"]) -> None:
        super().__init__(text)
        self.places = places


@dataclass(slots=True)
class KafkaAccess:
    """Where the brokers are, and the certificate to reach them with; no certificate means no TLS.

    A certificate is `<pki>/<kind>/<id>.pem`, with its key beside it and its authority in `<pki>/ca.pem`. It and its key
    are kept as they were read, until others will do that have taken their place: a renewal may be cut short.
    """

    servers: str
    ca: Path | None = None
    certificate: Path | None = None
    _read: Credentials | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def issued(self) -> int:
        """Of the certificate that connections are made with now: when its file was written, nanoseconds.

        A client that has been given one keeps it. Raises KafkaUnavailable while there is none that will do.
        """
        credentials = self._credentials()
        return credentials.stamp if credentials is not None else 0

    def config(self) -> dict[str, Any]:
        """The client library's settings. Raises KafkaUnavailable while there is no certificate that will do."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.servers,
            "logger": _Quiet(),
            "log_level": 4,
            # A broker that comes back is found soon; the library would wait for 10 s at last.
            "reconnect.backoff.max.ms": 1_000,
        }
        credentials = self._credentials()
        if credentials is not None:
            config |= {
                "security.protocol": "ssl",
                "ssl.ca.location": str(self.ca),
                "ssl.certificate.pem": credentials.certificate.decode(),
                "ssl.key.pem": credentials.key.decode(),
                # Brokers are found by address; their certificates are for this machine or cluster.
                "ssl.endpoint.identification.algorithm": "none",
            }
        return config

    def _credentials(self) -> Credentials | None:
        if self.certificate is None:
            return None
        if self._read is not None:
            self._read = self._read.renewed() or self._read
            return self._read
        kind = self.certificate.parent
        try:
            self._read = Credentials.load(kind.parent, Identity(kind.name, self.certificate.stem))
        except CredentialsError as error:
            raise KafkaUnavailable(str(error)) from error
        return self._read


def _made(kind: Callable[[dict[str, Any]], Client], config: dict[str, Any]) -> Client:
    """One of the library's clients. Raises KafkaUnavailable where it will not have these settings."""
    try:
        return kind(config)
    except KafkaException as error:
        raise _unavailable(error) from error


class _Quiet:
    """The library's own log lines, as ours: it says everything again in its errors."""

    def log(self, level: int, message: str, *values: object) -> None:
        """Keep it for whoever looks closely."""
        log.debug("kafka.client", line=message % values if values else message)


@dataclass(frozen=True, slots=True)
class Delivered:
    """Where a message lies now."""

    partition: int
    offset: int


class Publisher:
    """One idempotent producer with its own poll thread.

    Raises KafkaUnavailable where it cannot be made, as without a certificate that will do.
    """

    def __init__(self, access: KafkaAccess, settings: BridgeSettings) -> None:
        config = access.config() | {
            "enable.idempotence": True,
            "max.in.flight.requests.per.connection": settings.in_flight,
            "partitioner": settings.partitioner,
            "linger.ms": settings.linger_ms,
            "compression.type": settings.compression,
            "queue.buffering.max.messages": settings.queued_messages,
            # A message that timed out would leave a gap that later ones of its case pass.
            "message.timeout.ms": 0,
            "socket.keepalive.enable": True,
            "error_cb": self._failed,
        }
        self.lost = False
        """Set when no broker was reachable: one may have come back without what it had acknowledged."""
        self._topic = settings.topic
        self._poll_seconds = settings.poll_seconds
        self._acknowledge_seconds = settings.acknowledge_seconds
        self._producer = _made(Producer, config)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="kafka-producer", daemon=True)
        self._thread.start()

    def _failed(self, error: KafkaError) -> None:
        self.lost = self.lost or error.code() == KafkaError._ALL_BROKERS_DOWN

    def _poll(self) -> None:
        while not self._stopping.is_set():
            try:
                self._producer.poll(self._poll_seconds)
            except KafkaException as error:
                # It is of no use any more, for example because the broker has lost its place.
                log.warning("producer.ended", error=error.args[0].str())
                self.lost = True
            if self.lost:
                # What waits would be delivered before what the broker may have lost: let it go.
                self._producer.purge()

    async def publish(self, messages: Sequence["Outgoing"]) -> list[Delivered]:
        """Send messages in order; gives a place for each when all are acknowledged.

        Raises Undelivered, and KafkaUnavailable where it cannot go on, as when no broker was reachable since it began;
        then go on with a new publisher, from behind what is known to be delivered.
        """
        batch = _Batch(len(messages))
        for number, message in enumerate(messages):
            # A full queue is the back-pressure: the poll thread empties it.
            while not self._enqueue(message, batch.taker(number)):  # noqa: ASYNC110 - the library does not say when
                await asyncio.sleep(self._poll_seconds)
        return await batch.delivered(self._acknowledge_seconds)

    def _enqueue(self, message: "Outgoing", taker: Callable[[KafkaError | None, Message], None]) -> bool:
        if self.lost:
            # What stands before it may be gone with the broker, or was let go: a later one would pass it.
            raise KafkaUnavailable(NO_BROKER)
        try:
            self._producer.produce(
                self._topic, value=message.value, key=message.key, headers={**message.headers}, on_delivery=taker
            )
        except BufferError:
            return False
        except KafkaException as error:
            raise _unavailable(error) from error
        return True

    def close(self) -> None:
        """Drop what waits (it is published again after the next start) and end the thread."""
        self._producer.purge()
        self._stopping.set()
        self._thread.join()
        self._producer.flush(1)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish."""

    key: bytes
    value: bytes
    headers: dict[str, bytes]


class _Batch:
    """Counts the deliveries of one batch, and wakes its waiter once."""

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._places: list[Delivered | None] = [None] * count
        self._missing = count
        self._error: KafkaError | None = None

    async def delivered(self, seconds: float) -> list[Delivered]:
        """A place for each message. Raises Undelivered when none of them was acknowledged for so long."""
        while not self._done.is_set():
            missing = self._missing
            # Not `wait_for`: before Python 3.12 it forgets that it was cancelled where what it waits for has just come.
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._done.wait()
            if self._missing == missing and not self._done.is_set():
                raise Undelivered(f"no acknowledgement within {seconds:g} s", self._first_places())
        if self._error is not None:
            raise Undelivered(self._error.str(), self._first_places())
        return self._first_places()

    def _first_places(self) -> list[Delivered]:
        return [place for place in takewhile(bool, self._places) if place is not None]

    def taker(self, number: int) -> Callable[[KafkaError | None, Message], None]:
        """Called on the poll thread with the fate of one message."""

        def take(error: KafkaError | None, message: Any) -> None:
            if error is not None:
                self._error = error
            else:
                self._places[number] = Delivered(message.partition(), message.offset())
            self._missing -= 1
            if self._missing == 0:
                self._wake()

        return take

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._done.set)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


class Subscriber:
    """One consumer, used from one thread at a time, which calls what is given here.

    `start_at` gives the offsets to begin these partitions with; what it does not name begins at the beginning.
    `revoked` names partitions that others have now. `instance`, where it is not empty, names this process among those
    of its group: when it is killed and started again, it has its partitions back at once.

    Raises KafkaUnavailable where it cannot be made, as without a certificate that will do.
    """

    def __init__(
        self,
        access: KafkaAccess,
        settings: BridgeSettings,
        group: str,
        start_at: Callable[[Sequence[int]], Mapping[int, int]],
        revoked: Callable[[Sequence[int]], None],
        instance: str = "",
    ) -> None:
        self._settings = settings
        self._start_at = start_at
        self._revoked = revoked
        self._failure: Exception | None = None
        self._to_commit: dict[int, int] = {}
        self._highs: dict[int, int] = {}
        self.lost = False
        """Set when no broker was reachable: what was known about the topic must be looked at again."""
        self._consumer = _made(
            Consumer,
            access.config()
            | ({"group.instance.id": instance} if instance else {})
            | {
                "error_cb": self._failed,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": "cooperative-sticky",
                "fetch.min.bytes": settings.fetch_min_bytes,
                "fetch.wait.max.ms": settings.fetch_wait_ms,
                # While records wait here to be taken in, no more are fetched: fetches pace themselves to the passes,
                # and an idle partition is still fetched at once.
                "queued.min.messages": 1,
                "fetch.queue.backoff.ms": round(settings.pace_seconds * 1000),
                "allow.auto.create.topics": False,
                "topic.metadata.refresh.interval.ms": 5_000,
                "max.poll.interval.ms": 300_000,
                # A process that was killed stays a member for so long, and nobody gets its partitions.
                "session.timeout.ms": 6_000,
                "heartbeat.interval.ms": 2_000,
            },
        )
        self._consumer.subscribe([settings.topic], on_assign=self._assign, on_revoke=self._revoke)

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            offsets = self._start_at([partition.partition for partition in partitions])
        except Exception as error:
            # `consume` raises it: from here its traceback would keep the consumer alive, whatever `close` does.
            self._failure = error.with_traceback(None)
            return
        for partition in partitions:
            partition.offset = offsets.get(partition.partition, OFFSET_BEGINNING)
        consumer.incremental_assign(partitions)

    def _revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign(partitions)
        self._revoked([partition.partition for partition in partitions])

    def _failed(self, error: KafkaError) -> None:
        self.lost = self.lost or error.code() == KafkaError._ALL_BROKERS_DOWN

    def consume(self) -> list[Incoming]:
        """The next messages, in batches where there are many; empty after a moment without any.

        Raises KafkaUnavailable, and whatever `start_at` raises; then begin anew with another subscriber.
        """
        try:
            self._do_as_told()
            first = self._consumer.poll(self._settings.poll_seconds)
            rest = self._consumer.consume(self._settings.consume_batch - 1, 0) if first is not None else []
        except KafkaException as error:
            raise _unavailable(error) from error
        if self._failure is not None:
            raise self._failure
        return [_incoming(message) for message in (first, *rest) if message is not None]

    # Kafka's consumer lets nobody in while it gives partitions, and asks `start_at` meanwhile, which waits for the
    # caller's loop. So whatever is said to a subscriber is noted, and done by `consume`.
    #
    # It has no pause: the client library keeps one over a change of hands (librdkafka, issues 1802 and 5113), so that a
    # partition that comes back may never be fetched again, or from a place that is not `start_at`'s.

    def commit(self, offsets: dict[int, int]) -> None:
        """Let Kafka's own tools show the lag; where to go on stands in the database."""
        self._to_commit = offsets

    def lag(self, partition: int, next_offset: int) -> int:
        """Messages on the broker behind this offset, as far as is known; -1 while unknown."""
        high = self._highs.get(partition, -1)
        return max(0, high - next_offset) if high >= 0 else -1

    def _do_as_told(self) -> None:
        offsets, self._to_commit = self._to_commit, {}
        with suppress(KafkaException):  # these two are for people to see
            if offsets:
                self._consumer.commit(offsets=self._places(offsets), asynchronous=True)
            for place in self._consumer.assignment():
                _, self._highs[place.partition] = self._consumer.get_watermark_offsets(place, cached=True)

    def _places(self, offsets: dict[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._settings.topic, number, offset) for number, offset in offsets.items()]

    def close(self) -> threading.Thread:
        """Drop the consumer; a process that has a name in its group would not leave it anyway. Gives where it ends.

        The client library's own `close` asks `_revoke` once more. Where the group had ended meanwhile, as when the
        broker that coordinates it was lost, nobody answers what that tells the library: it waits for ever, with the
        interpreter held, and the whole process stands still (librdkafka, issue 4884). Without it the library's end may
        still wait for the group's, but holds nobody up on a thread of its own.
        """
        dropped = [self._consumer]
        del self._consumer
        ending = threading.Thread(target=dropped.clear, name="kafka-consumer-end", daemon=True)
        ending.start()
        return ending


def everything(access: KafkaAccess, settings: BridgeSettings) -> Iterator[Sequence[Incoming]]:
    """All that is on the topic, up to its ends of now: each partition from its beginning, in order. Blocking.

    What the topic's retention takes away meanwhile is passed over. Raises KafkaUnavailable.
    """
    config = {
        "group.id": "ronghe-relearning",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        # Where a partition's beginning is gone before it is read: else the library would go to its end.
        "auto.offset.reset": "earliest",
    }
    consumer = _made(Consumer, access.config() | config)
    try:
        marks = {number: _ends(consumer, settings.topic, number) for number in _partitions(consumer, settings.topic)}
        ends = {number: high for number, (low, high) in marks.items() if low < high}
        consumer.assign([TopicPartition(settings.topic, number, OFFSET_BEGINNING) for number in ends])
        missing = set(ends)
        while missing:
            found = [_incoming(each) for each in consumer.consume(settings.consume_batch, 1.0) if not _is_end(each)]
            yield [each for each in found if each.offset < ends[each.partition]]
            at = {place.partition: place.offset for place in consumer.position(consumer.assignment())}
            missing = {number for number in missing if at[number] < ends[number]}
            if not found:
                missing = {number for number in missing if _holds_more(consumer, settings.topic, number, ends[number])}
    except KafkaException as error:
        raise _unavailable(error) from error
    finally:
        consumer.close()


def _partitions(consumer: Consumer, topic: str) -> Collection[int]:
    """Their numbers. Raises KafkaUnavailable where the brokers do not tell: a topic of none would hold nothing."""
    described = consumer.list_topics(topic, ADMIN_SECONDS).topics[topic]
    if described.error is not None:
        raise KafkaUnavailable(described.error.str())
    return list(described.partitions)


def _holds_more(consumer: Consumer, topic: str, partition: int, end: int) -> bool:
    """Whether something before this end may come still. Raises KafkaUnavailable where the end itself is gone."""
    low, high = _ends(consumer, topic, partition)
    if high < end:
        raise KafkaUnavailable(f"partition {partition} has lost records, or its topic was made anew")
    return low < end


def _is_end(message: Any) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF


def _incoming(message: Message) -> Incoming:
    """Raises KafkaUnavailable for what is no message but an error."""
    raw: Any = message
    error = raw.error()
    if error is not None:
        raise KafkaUnavailable(error.str())
    headers = {name: value or b"" for name, value in raw.headers() or ()}
    return Incoming(raw.partition(), raw.offset(), raw.key(), raw.value(), headers)


class Admin:
    """What is asked of the brokers beside messages. Blocking: call it on a thread."""

    def __init__(self, access: KafkaAccess) -> None:
        """Raises KafkaUnavailable where there is no certificate that will do."""
        self._access = access
        self._client = _made(AdminClient, access.config())

    def wait_ready(self, seconds: float) -> None:
        """Return when a broker answers; raises KafkaUnavailable after so many seconds."""
        try:
            self._client.list_topics(timeout=seconds)
        except KafkaException as error:
            raise _unavailable(error) from error

    def reload_certificates(self) -> None:
        """Have every broker look whether the file of its certificate is another one; raises KafkaUnavailable.

        A broker does so within some seconds when one of its settings is set or forgotten, also where that changes
        nothing (KAFKA-14136). This forgets one that is never set: nothing stays behind.
        """
        try:
            brokers = self._client.list_topics(timeout=ADMIN_SECONDS).brokers
            # The library takes one broker a call.
            told = [self._client.incremental_alter_configs([_forgetting(number)]) for number in brokers]
            for answers in told:
                for answer in answers.values():
                    answer.result(ADMIN_SECONDS)
        except KafkaException as error:
            raise _unavailable(error) from error
        except TimeoutError as error:
            raise KafkaUnavailable(LATE) from error

    def ensure_topic(self, settings: BridgeSettings, replication: int, config: dict[str, str]) -> None:
        """Make the topic unless it is there."""
        topic = NewTopic(settings.topic, settings.partitions, replication, config=config)
        (made,) = self._client.create_topics([topic]).values()
        try:
            made.result(ADMIN_SECONDS * 2)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise _unavailable(error) from error
        except TimeoutError as error:
            raise KafkaUnavailable(LATE) from error

    def topic_id(self, topic: str) -> str:
        """The id the topic got when it was made, as Kafka's own tools print it: another id is another topic."""
        (described,) = self._client.describe_topics(TopicCollection([topic]), request_timeout=ADMIN_SECONDS).values()
        try:
            # librdkafka prints plain base64; Kafka's is safe in a path.
            return str(described.result(ADMIN_SECONDS).topic_id).translate(URL_SAFE)
        except KafkaException as error:
            raise _unavailable(error) from error
        except TimeoutError as error:
            raise KafkaUnavailable(LATE) from error

    def begins(self, topic: str, partitions: Sequence[int]) -> Mapping[int, int]:
        """The offset of the first message of each partition, where its leader tells in time."""
        return self._offsets(topic, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call] # it has no types

    def ends(self, topic: str, partitions: Sequence[int]) -> Mapping[int, int]:
        """The offset behind the last message of each partition, where its leader tells in time."""
        return self._offsets(topic, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call] # it has no types

    def _offsets(self, topic: str, partitions: Sequence[int], which: OffsetSpec) -> Mapping[int, int]:
        if not partitions:
            return {}
        asked = {TopicPartition(topic, partition): which for partition in partitions}
        found: dict[int, int] = {}
        for place, told in self._client.list_offsets(asked, request_timeout=LOOK_SECONDS).items():
            with suppress(KafkaException, TimeoutError):
                found[place.partition] = told.result(LOOK_SECONDS).offset
        return found

    def missing(self, topic: str, events: Mapping[Delivered, str]) -> Collection[Delivered]:
        """Those of the places, one a partition, that do not hold their event any more, though its time is not over."""
        if not events:
            return ()
        config = {"group.id": "ronghe-check", "enable.auto.commit": False}
        consumer = _made(Consumer, self._access.config() | config)
        try:
            ends = {place: _ends(consumer, topic, place.partition) for place in events}
            there = [place for place, (low, high) in ends.items() if low <= place.offset < high]
            found = _first_of_each(consumer, topic, there)
        except KafkaException as error:
            raise _unavailable(error) from error
        finally:
            consumer.close()
        gone = [place for place, (_, high) in ends.items() if place.offset >= high]
        return gone + [place for place in there if found[place.partition] != (place.offset, events[place])]


def _forgetting(broker: int) -> ConfigResource:
    setting, forget = "listener.name.broker.ssl.keystore.location", AlterConfigOpType.DELETE
    entries = [ConfigEntry(setting, None, incremental_operation=forget)]
    return ConfigResource(ConfigResource.Type.BROKER, str(broker), incremental_configs=entries)


def _ends(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), ADMIN_SECONDS)
    return low, high


def _first_of_each(consumer: Consumer, topic: str, places: Sequence[Delivered]) -> Mapping[int, tuple[int, str]]:
    """Offset and event id of what each partition gives from its place on."""
    consumer.assign([TopicPartition(topic, place.partition, place.offset) for place in places])
    found: dict[int, tuple[int, str]] = {}
    end = time.monotonic() + ADMIN_SECONDS
    while len(found) < len(places):
        message = consumer.poll(max(0.0, end - time.monotonic()))
        if message is None:
            raise KafkaUnavailable("the records to check were not given in time")
        first = _incoming(message)
        found.setdefault(first.partition, (first.offset, id_of(first.headers)))
    return found


def _unavailable(error: KafkaException) -> KafkaUnavailable:
    return KafkaUnavailable(error.args[0].str())
