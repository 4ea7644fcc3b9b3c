import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition

from bridge.kafka import Admin, Delivered, Incoming, KafkaAccess, KafkaUnavailable, Outgoing, Publisher, Subscriber
from bridge.settings import BridgeSettings
from clients.identity import Identity
from servers.mesh.errors import MeshError
from servers.mesh.kafka import SERVICES, Broker
from servers.mesh.pki import Authority
from servers.mesh.ports import free_ports
from servers.mesh.supervisor import Child, Keeper
from tests.broker import RunningBroker, running_broker

PATIENCE = 60.0
GOVERNANCE, DEPARTMENT = Identity("service", "governance-01"), Identity("service", "department-01")
STRANGERS = [
    Identity("service", "elsewhere-01"),
    Identity("organ", "fire-500103"),
    Identity("intake", "yukuaiban"),
    Identity("operator", "local"),
    # A name alone does not make a broker of a party.
    Identity("organ", "broker"),
]

# So long a consumer without a name would keep the next one waiting.
SESSION_SECONDS = 6.0


@pytest.fixture
def settings() -> BridgeSettings:
    """A topic of the test's own."""
    return BridgeSettings(topic=f"test.{uuid4().hex}", partitions=3)


def make_topic(broker: RunningBroker, settings: BridgeSettings) -> Admin:
    """Made, and known to the broker: it learns of a topic a little after the controller has answered."""
    admin = Admin(broker.access(GOVERNANCE))
    admin.ensure_topic(settings, 1, {"retention.ms": "60000"})
    end = time.monotonic() + PATIENCE
    while True:
        try:
            admin.topic_id(settings.topic)
        except KafkaUnavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return admin


async def publish(access: KafkaAccess, settings: BridgeSettings, *values: bytes) -> Sequence[Delivered]:
    publisher = Publisher(access, settings)
    try:
        return await publisher.publish([Outgoing(b"one case", value, {"ce_id": value}) for value in values])
    finally:
        await asyncio.to_thread(publisher.close)


def consume(access: KafkaAccess, settings: BridgeSettings, count: int) -> list[Incoming]:
    subscriber = Subscriber(access, settings, uuid4().hex, lambda _: {}, lambda _: None)
    found: list[Incoming] = []
    try:
        while len(found) < count:
            found += subscriber.consume()
    finally:
        subscriber.close()
    return found


def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2 with Kafka's seed, as an unsigned number of 32 bits."""
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    value = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for place in range(0, whole, 4):
        part = int.from_bytes(data[place : place + 4], "little") * multiplier & mask
        part = (part ^ part >> 24) * multiplier & mask
        value = value * multiplier & mask ^ part
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return value ^ value >> 15


async def test_what_one_service_writes_another_reads_in_order(broker: RunningBroker, settings: BridgeSettings) -> None:
    make_topic(broker, settings)
    delivered = await publish(broker.access(GOVERNANCE), settings, b"first", b"second")
    assert [place.offset for place in delivered] == [0, 1]
    found = await asyncio.to_thread(consume, broker.access(DEPARTMENT), settings, 2)
    assert [(message.key, message.value) for message in found] == [(b"one case", b"first"), (b"one case", b"second")]
    assert {message.partition for message in found} == {place.partition for place in delivered}


async def test_a_key_lies_where_a_java_producer_would_put_it(broker: RunningBroker) -> None:
    settings = BridgeSettings(topic=f"test.{uuid4().hex}", partitions=12)
    make_topic(broker, settings)
    keys = [str(uuid4()).encode() for _ in range(200)]
    publisher = Publisher(broker.access(GOVERNANCE), settings)
    try:
        places = await publisher.publish([Outgoing(key, b"value", {}) for key in keys])
    finally:
        await asyncio.to_thread(publisher.close)
    assert [place.partition for place in places] == [(murmur2(key) & 0x7FFFFFFF) % 12 for key in keys]


@pytest.mark.parametrize(("key", "expected"), [(b"21", -973932308), (b"foobar", -790332482), (b"abc", 479470107)])
def test_the_hash_above_is_the_one_of_kafkas_own_clients(key: bytes, expected: int) -> None:
    """Values that Kafka's own tests have for org.apache.kafka.common.utils.Utils.murmur2."""
    assert murmur2(key) == expected % 2**32


async def test_a_batch_beyond_what_the_producer_holds_waits_and_keeps_its_order(broker: RunningBroker) -> None:
    settings = BridgeSettings(topic=f"test.{uuid4().hex}", partitions=3, queued_messages=100, in_flight=1)
    make_topic(broker, settings)
    places = await publish(broker.access(GOVERNANCE), settings, *(b"%d" % number for number in range(1_000)))
    assert [place.offset for place in places] == list(range(1_000))


async def test_what_a_subscriber_is_told_does_not_wait_while_it_is_given_partitions(
    broker: RunningBroker, settings: BridgeSettings
) -> None:
    """Where to begin is asked for on the caller's loop: were that to wait for the subscriber, neither would go on."""
    make_topic(broker, settings)
    asked, told = threading.Event(), threading.Event()

    def start_at(partitions: Sequence[int]) -> Mapping[int, int]:
        asked.set()
        told.wait(5)
        return {}

    subscriber = Subscriber(broker.access(DEPARTMENT), settings, uuid4().hex, start_at, lambda _: None)
    reading = asyncio.create_task(asyncio.to_thread(consume_until, subscriber, asked))
    assert await asyncio.to_thread(asked.wait, 30)
    started = time.monotonic()
    subscriber.commit({0: 0})
    subscriber.lag(0, 0)
    took = time.monotonic() - started
    told.set()
    await reading
    await asyncio.to_thread(subscriber.close)
    assert took < 1


async def test_a_subscriber_that_closes_is_asked_nothing_and_the_next_one_has_its_partitions_at_once(
    broker: RunningBroker, settings: BridgeSettings
) -> None:
    """What it would be asked then may never be answered; it keeps its place in the group by its name."""
    make_topic(broker, settings)
    await publish(broker.access(GOVERNANCE), settings, b"first", b"second")
    revoked: list[int] = []
    access, group = broker.access(DEPARTMENT), uuid4().hex

    def take() -> list[bytes | None]:
        subscriber = Subscriber(access, settings, group, lambda _: {}, revoked.extend, "department-01")
        found: list[bytes | None] = []
        while len(found) < 2:
            found += [message.value for message in subscriber.consume()]
        started = time.monotonic()
        subscriber.close()
        closed_after.append(time.monotonic() - started)
        return found

    closed_after: list[float] = []
    assert await asyncio.to_thread(take) == [b"first", b"second"]
    started = time.monotonic()
    assert await asyncio.to_thread(take) == [b"first", b"second"]
    assert time.monotonic() - started < SESSION_SECONDS
    assert revoked == []
    assert max(closed_after) < 2


def consume_until(subscriber: Subscriber, asked: threading.Event) -> None:
    while not asked.is_set():
        subscriber.consume()


def refusals(access: KafkaAccess, settings: BridgeSettings) -> list[str]:
    """What a reader gets in place of messages, and in place of the topic's description."""
    consumer = Consumer(access.config() | {"group.id": "stranger"})
    consumer.assign([TopicPartition(settings.topic, number, 0) for number in range(settings.partitions)])
    try:
        errors = [consumer.poll(10).error(), consumer.list_topics(settings.topic, 10).topics[settings.topic].error]
    finally:
        consumer.close()
    return [error.name() if error else "none" for error in errors]


def test_a_topic_that_is_there_stays_the_same_topic(broker: RunningBroker, settings: BridgeSettings) -> None:
    admin = make_topic(broker, settings)
    made = admin.topic_id(settings.topic)
    make_topic(broker, settings)
    assert admin.topic_id(settings.topic) == made


@pytest.mark.parametrize("stranger", STRANGERS, ids=str)
async def test_nobody_but_the_services_writes(
    broker: RunningBroker, settings: BridgeSettings, stranger: Identity
) -> None:
    make_topic(broker, settings)
    with pytest.raises(KafkaUnavailable, match="Topic authorization failed"):
        await publish(broker.access(stranger), settings, b"forged")


@pytest.mark.parametrize("stranger", STRANGERS, ids=str)
async def test_nobody_but_the_services_reads(
    broker: RunningBroker, settings: BridgeSettings, stranger: Identity
) -> None:
    make_topic(broker, settings)
    (place,) = await publish(broker.access(GOVERNANCE), settings, b"secret")
    assert not Admin(broker.access(DEPARTMENT)).missing(settings.topic, {place: "secret"})
    refused = await asyncio.to_thread(refusals, broker.access(stranger), settings)
    assert refused == ["GROUP_AUTHORIZATION_FAILED", "TOPIC_AUTHORIZATION_FAILED"]


def test_a_service_certificate_of_another_authority_is_refused(broker: RunningBroker, tmp_path: Path) -> None:
    Authority(tmp_path).issue(GOVERNANCE)
    certificate = tmp_path / "service" / "governance-01.pem"
    access = KafkaAccess(broker.bootstrap, broker.pki / "ca.pem", certificate)
    with pytest.raises(KafkaUnavailable):
        Admin(access).wait_ready(2)


def test_without_tls_the_broker_does_not_answer(broker: RunningBroker) -> None:
    with pytest.raises(KafkaUnavailable):
        Admin(KafkaAccess(broker.bootstrap)).wait_ready(2)


@pytest.mark.parametrize("end", ["terminate", "kill"])
async def test_what_was_acknowledged_is_there_after_the_broker_ends_and_starts_on_other_ports(
    tmp_path: Path, settings: BridgeSettings, end: str
) -> None:
    with running_broker(tmp_path) as first:
        topic = make_topic(first, settings).topic_id(settings.topic)
        await publish(first.access(GOVERNANCE), settings, b"kept")
        getattr(first.process, end)()
        first.process.wait(30)
    with running_broker(tmp_path) as second:
        assert second.bootstrap != first.bootstrap
        assert Admin(second.access(GOVERNANCE)).topic_id(settings.topic) == topic
        (found,) = await asyncio.to_thread(consume, second.access(DEPARTMENT), settings, 1)
        assert found.value == b"kept"


async def test_a_broker_that_cannot_start_says_why_in_its_own_words(tmp_path: Path) -> None:
    port, controller = free_ports(2)
    broker = Broker(tmp_path / "kafka", port, controller)
    command = broker.prepare(Authority(tmp_path / "pki"))
    (tmp_path / "kafka" / "data" / "meta.properties").write_text("cluster.id=another\n")

    async def is_ready() -> bool:
        return False

    keeper = Keeper(Child("kafka", command, {}, tmp_path / "kafka.log", is_ready))
    with pytest.raises(MeshError, match=r"kafka ended at its start: .*node ID not found in"):
        await keeper.start()


def test_every_subsystem_has_its_service_identity() -> None:
    assert {GOVERNANCE.id, DEPARTMENT.id} < set(SERVICES)
