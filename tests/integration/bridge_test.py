import asyncio
import random
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from bridge import consumer
from bridge.cloudevents import headers_of, of_topic
from bridge.consumer import KafkaConsumer, NeverEnds
from bridge.kafka import Admin, Delivered, KafkaAccess, KafkaUnavailable, Outgoing, Publisher, Subscriber
from bridge.ports import Checkpoint
from bridge.record import Arrival, Record, parse_fact
from bridge.relay import Relay
from bridge.settings import BridgeSettings
from clients.identity import Identity
from clients.telemetry import SpanContext
from ronghe.event.v1 import event_pb2
from servers.mesh.pki import DOMAIN
from tests.broker import RunningBroker, running_broker
from tests.integration.memory import MemoryJournal, until

GOVERNANCE, DEPARTMENT = Identity("service", "governance-01"), Identity("service", "department-01")
KIND = "ronghe.event.v1.WithdrawalRequested"


@dataclass
class Spans:
    """Keeps what is recorded, with its attributes."""

    kept: dict[SpanContext, Mapping[str, Any]] = field(default_factory=dict)

    def record(self, name: str, context: SpanContext, **what: Any) -> None:
        self.kept[context] = {"name": name, **what}


@dataclass
class Channel:
    """A topic of a test's own, a journal that publishes to it and another one that takes in from it."""

    broker: RunningBroker
    settings: BridgeSettings
    here: MemoryJournal = field(default_factory=MemoryJournal)
    there: MemoryJournal = field(default_factory=MemoryJournal)
    spans: Spans = field(default_factory=Spans)

    @property
    def access(self) -> KafkaAccess:
        return self.broker.access(GOVERNANCE)

    @property
    def admin(self) -> Admin:
        return Admin(self.access)

    def make_topic(self) -> None:
        self.admin.wait_ready(30)
        self.admin.ensure_topic(self.settings, 1, {})

    def relay(self, access: KafkaAccess | None = None) -> Relay:
        return Relay(self.here, access or self.access, self.settings, self.spans)

    def consumer(
        self, origin: str = "department-01", unwanted: str = "", access: KafkaAccess | None = None
    ) -> KafkaConsumer:
        return KafkaConsumer(
            sink=self.there,
            access=access or self.broker.access(DEPARTMENT),
            settings=self.settings,
            spans=self.spans,
            group=self.settings.topic,
            origin=origin,
            wanted=lambda name: name != unwanted,
        )

    async def publish(self, *messages: Outgoing) -> Sequence[Delivered]:
        """As anyone could who may write."""
        publisher = Publisher(self.access, self.settings)
        try:
            return await publisher.publish(messages)
        finally:
            await asyncio.to_thread(publisher.close)

    async def has_published(self, count: int) -> None:
        await until(lambda: self.here.done.position == count, f"{count} published")

    async def has_taken(self, count: int) -> None:
        await until(lambda: len(self.there.rows) >= count, f"{count} taken in")

    def assert_all_arrived_once_and_in_order(self) -> None:
        ids = Counter(record.event_id for record in self.there.rows)
        assert ids == Counter(record.event_id for record in self.here.rows)
        for case_id in {record.case_id for record in self.here.rows}:
            assert self.there.of_case(case_id) == self.here.of_case(case_id)


def make_channel(broker: RunningBroker, **settings: Any) -> Channel:
    quick = {"partitions": 3, "retry_longest_seconds": 0.5, "check_seconds": 0.5, "acknowledge_seconds": 2.0}
    channel = Channel(broker, BridgeSettings(topic=f"test.{uuid4().hex}", **(quick | settings)))
    channel.make_topic()
    return channel


@pytest.fixture
def channel(broker: RunningBroker) -> Channel:
    return make_channel(broker)


@asynccontextmanager
async def at_work(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let these run until the end of the block; what ends before by itself fails the test, an error at once."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
        yield
        assert not [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
    assert all(task.cancelled() for task in tasks)


def record_of(case_id: str, version: int, **changes: Any) -> Record:
    body = event_pb2.WithdrawalRequested(reason=f"{case_id} {version}").SerializeToString()
    record = Record(
        event_id=str(uuid4()),
        origin="governance-01",
        case_id=case_id,
        stream=f"case/{case_id}",
        version=version,
        causes=(),
        recorded_at=datetime(2026, 11, 23, 1, 0, version % 60, tzinfo=UTC),
        type=KIND,
        body=body,
        fact=parse_fact(KIND, body),
    )
    return record._replace(**changes)


def story(cases: int, facts: int) -> list[Record]:
    """Cases' records, mixed, each case's in order."""
    ids = [str(uuid4()) for _ in range(cases)]
    turns = [case_id for case_id in ids for _ in range(facts)]
    random.Random(7).shuffle(turns)
    versions: Counter[str] = Counter()
    records = []
    for case_id in turns:
        versions[case_id] += 1
        records.append(record_of(case_id, versions[case_id]))
    return records


def message_of(record: Record, **headers: bytes) -> Outgoing:
    return Outgoing(record.case_id.encode(), record.body, {**headers_of(record), **headers})


def copied(access: KafkaAccess, folder: Path) -> KafkaAccess:
    """The same access, with files of its own."""
    assert access.ca is not None
    assert access.certificate is not None
    copy = folder / "service" / access.certificate.name
    copy.parent.mkdir()
    (folder / "ca.pem").write_bytes(access.ca.read_bytes())
    write(access.certificate, copy, ".key", ".pem")
    return KafkaAccess(access.servers, folder / "ca.pem", copy)


def write(source: Path, target: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        target.with_suffix(suffix).write_bytes(source.with_suffix(suffix).read_bytes())


# --- the way through ---


async def test_every_record_arrives_unchanged_and_each_case_in_its_order(channel: Channel) -> None:
    channel.here.append(*story(cases=20, facts=60))
    async with at_work(channel.relay().run(), channel.consumer().run()):
        await channel.has_taken(600)
        channel.here.append(*story(cases=1, facts=1))
        await channel.has_taken(1201)
    channel.assert_all_arrived_once_and_in_order()
    sent = {record.event_id: record for record in channel.here.rows}
    for record in channel.there.rows:
        published = sent[record.event_id]
        assert record._replace(position=0) == published._replace(position=0, arrival=Arrival.KAFKA)


async def test_a_case_lies_on_one_partition_and_cases_lie_on_all(channel: Channel) -> None:
    channel.here.append(*story(cases=20, facts=3))
    async with at_work(channel.relay().run(), channel.consumer().run()):
        await channel.has_taken(60)
    partitions: dict[str, set[str]] = {}
    for record, source in zip(channel.there.rows, channel.there.sources, strict=True):
        partitions.setdefault(record.case_id, set()).add(source.split("/")[3])
    assert {len(found) for found in partitions.values()} == {1}
    assert len(set().union(*partitions.values())) == 3


async def test_a_certificate_that_is_written_anew_is_used_without_a_restart(channel: Channel, tmp_path: Path) -> None:
    """One first that the broker refuses, for its common name: that shows whose certificate new connections have."""
    ours, here = copied(channel.access, tmp_path), channel.access.certificate
    assert here is not None
    assert ours.certificate is not None
    strange = tmp_path / "strange.pem"
    channel.broker.authority._issue(strange, "nobody", GOVERNANCE.uri(DOMAIN))
    channel.here.append(*story(cases=3, facts=4))
    relay, consumer = channel.relay(ours), channel.consumer(access=ours)
    async with at_work(relay.run(), consumer.run()):
        await channel.has_taken(12)
        write(strange, ours.certificate, ".key", ".pem")
        await until(lambda: bool(relay.state.last_error and consumer.state.last_error), "both are refused")
        write(here, ours.certificate, ".key", ".pem")
        channel.here.append(*story(cases=3, facts=4))
        await channel.has_taken(24)
    channel.assert_all_arrived_once_and_in_order()


@pytest.mark.parametrize("suffix", [".key", ".pem"])
async def test_a_renewal_that_is_cut_short_is_gone_on_without_until_the_pair_is_whole(
    channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """One file is new, the other is not: no new connection could be made with them."""
    checks: list[Admin] = []
    missing = Admin.missing

    def counted(admin: Admin, topic: str, events: Mapping[Delivered, str]) -> Collection[Delivered]:
        """The relay asks every half second, on a new connection each time."""
        checks.append(admin)
        return missing(admin, topic, events)

    monkeypatch.setattr(Admin, "missing", counted)
    ours = copied(channel.access, tmp_path)
    assert ours.certificate is not None
    new = tmp_path / "new.pem"
    channel.broker.authority._issue(new, str(GOVERNANCE), GOVERNANCE.uri(DOMAIN))
    channel.here.append(*story(cases=3, facts=4))
    relay, consumer = channel.relay(ours), channel.consumer(access=ours)
    async with at_work(relay.run(), consumer.run()):
        await channel.has_taken(12)
        before = ours.issued
        write(new, ours.certificate, suffix)
        with capture_logs() as logs:
            enough = len(checks) + 3
            await until(lambda: len(checks) > enough, "the topic was looked at")
            channel.here.append(*story(cases=3, facts=4))
            await channel.has_taken(24)
        assert ours.issued == before
        assert [line for line in logs if line["log_level"] == "warning"] == []
        with capture_logs() as logs:
            write(new, ours.certificate, ".key", ".pem")
            await until(lambda: {line["event"] for line in logs} >= RENEWED, "both go by the new pair")
            channel.here.append(*story(cases=3, facts=4))
            await channel.has_taken(36)
    channel.assert_all_arrived_once_and_in_order()


RENEWED = {"relay.certificate_renewed", "consumer.certificate_renewed"}


async def test_who_begins_while_a_pair_is_broken_waits_until_it_is_whole(channel: Channel, tmp_path: Path) -> None:
    ours = copied(channel.access, tmp_path)
    assert ours.certificate is not None
    new = tmp_path / "new.pem"
    channel.broker.authority._issue(new, str(GOVERNANCE), GOVERNANCE.uri(DOMAIN))
    write(new, ours.certificate, ".key")
    channel.here.append(*story(cases=3, facts=4))
    relay, consumer = channel.relay(ours), channel.consumer(access=ours)
    async with at_work(relay.run(), consumer.run()):
        await until(lambda: bool(relay.state.last_error and consumer.state.last_error), "both wait")
        assert "is not the key of" in relay.state.last_error
        write(new, ours.certificate, ".pem")
        await channel.has_taken(12)
    channel.assert_all_arrived_once_and_in_order()


async def test_each_hop_leaves_a_span_below_the_one_before(channel: Channel) -> None:
    channel.here.append(*story(cases=1, facts=1))
    async with at_work(channel.relay().run(), channel.consumer().run()):
        await until(lambda: len(channel.spans.kept) == 2, "two spans")
    (send, sent), (process, processed) = sorted(channel.spans.kept.items(), key=lambda span: span[1]["start_ns"])
    assert (sent["name"], sent["kind"]) == (f"send {channel.settings.topic}", "producer")
    assert (processed["name"], processed["kind"]) == (f"process {channel.settings.topic}", "consumer")
    assert processed["parent"] == send.span_id
    assert process.trace_id == send.trace_id
    assert sent["attributes"]["messaging.kafka.offset"] == processed["attributes"]["messaging.kafka.offset"] == 0


async def test_own_and_unwanted_records_are_passed_over_and_not_looked_at_again(channel: Channel) -> None:
    case_id = str(uuid4())
    own, unwanted = record_of(case_id, 1, origin="department-01"), record_of(case_id, 2, type="ronghe.event.v1.Closed")
    (_, last) = await channel.publish(message_of(own), message_of(unwanted))
    consumer = channel.consumer(unwanted="ronghe.event.v1.Closed")
    async with at_work(consumer.run()):
        name = f"kafka/{channel.settings.topic}/{last.partition}"
        await until(lambda: name in channel.there.stored, "where to go on is stored")
    assert channel.there.stored[name].value["next_offset"] == last.offset + 1
    assert channel.there.rows == []


async def test_a_consumer_goes_on_where_the_one_before_it_stopped(channel: Channel) -> None:
    channel.here.append(*story(cases=5, facts=10))
    async with at_work(channel.relay().run()):
        async with at_work(channel.consumer().run()):
            await channel.has_taken(50)
        channel.here.append(*story(cases=5, facts=10))
        async with at_work(channel.consumer().run()):
            await channel.has_taken(100)
    assert len(channel.there.sources) == len(set(channel.there.sources)) == 100


async def test_a_consumer_does_not_go_on_beside_one_that_never_ends(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "ENDS_SECONDS", 1.0)
    may_end = threading.Event()
    stuck, taking = threading.Thread(target=may_end.wait), channel.consumer()
    stuck.start()
    try:
        taking.endings.add(stuck)
        with pytest.raises(NeverEnds):
            await asyncio.wait_for(taking.run(), 30)
    finally:
        may_end.set()
        stuck.join()


async def test_a_partition_that_the_client_library_does_not_fetch_any_more_is_begun_anew(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assign, paused = Subscriber._assign, list[TopicPartition]()

    def assign_and_pause(subscriber: Subscriber, library: Consumer, partitions: list[TopicPartition]) -> None:
        assign(subscriber, library, partitions)
        if partitions and not paused:
            paused.append(partitions[0])
            library.pause(paused)

    monkeypatch.setattr(Subscriber, "_assign", assign_and_pause)
    channel.here.append(*story(cases=30, facts=5))
    async with at_work(channel.relay().run(), channel.consumer().run()):
        await channel.has_taken(150)
    channel.assert_all_arrived_once_and_in_order()
    assert paused


async def test_two_consumers_of_one_database_share_the_cases_and_one_alone_takes_all(channel: Channel) -> None:
    both = channel.consumer(), channel.consumer()
    async with at_work(channel.relay().run(), both[0].run()):
        await until(lambda: len(both[0].state.next_offsets) == 3, "one has all partitions")
        async with at_work(both[1].run()):
            await until(
                lambda: sorted(len(each.state.next_offsets) for each in both) == [1, 2], "each has some partitions"
            )
            channel.here.append(*story(cases=20, facts=20))
            await channel.has_taken(400)
            assert all(each.state.taken for each in both)
        channel.here.append(*story(cases=20, facts=20))
        await channel.has_taken(800)
    channel.assert_all_arrived_once_and_in_order()


# --- what cannot be read ---


async def test_what_cannot_be_decoded_is_handed_over_with_its_place_and_stops_nothing(channel: Channel) -> None:
    bad, good = record_of(str(uuid4()), 1), record_of(str(uuid4()), 1)
    (place, _) = await channel.publish(message_of(bad, ce_time=b"yesterday"), message_of(good))
    async with at_work(channel.consumer().run()):
        await channel.has_taken(1)
        await until(lambda: len(channel.there.undecodable) == 1, "the broken one is handed over")
    (found,) = channel.there.undecodable
    topic_id = channel.admin.topic_id(channel.settings.topic)
    assert found.source == f"kafka/{channel.settings.topic}/{topic_id}/{place.partition}/{place.offset}"
    assert (found.case_id, found.value) == (bad.case_id, bad.body)
    assert found.headers["ce_time"] == b"yesterday"
    assert [record.event_id for record in channel.there.rows] == [good.event_id]


async def test_a_type_of_a_later_version_is_taken_in_with_its_bytes(channel: Channel) -> None:
    later = record_of(str(uuid4()), 1, type="ronghe.event.v1.Objected", body=b"\x00\xff")
    await channel.publish(message_of(later))
    async with at_work(channel.consumer().run()):
        await channel.has_taken(1)
    assert (channel.there.rows[0].body, channel.there.rows[0].fact) == (b"\x00\xff", None)


# --- the database does not answer ---


async def test_while_the_store_is_gone_the_consumer_waits_and_passes_nothing_over(channel: Channel) -> None:
    consumer = channel.consumer()
    channel.here.append(*story(cases=10, facts=10))
    async with at_work(channel.relay().run(), consumer.run()):
        await channel.has_taken(100)
        channel.there.available = False
        channel.here.append(*story(cases=10, facts=50))
        await channel.has_published(600)
        await until(lambda: consumer.state.last_error.startswith("StoreUnavailable"), "the consumer says so")
        assert len(channel.there.rows) == 100
        channel.there.available = True
        await channel.has_taken(600)
        await until(lambda: not consumer.state.last_error, "all is well")
    channel.assert_all_arrived_once_and_in_order()
    assert len(channel.there.sources) == 600


async def test_partitions_that_change_hands_while_the_store_is_gone_lose_nothing(channel: Channel) -> None:
    staying, leaving = channel.consumer(), channel.consumer()
    async with at_work(channel.relay().run(), staying.run()):
        async with at_work(leaving.run()):
            await until(lambda: staying.state.next_offsets and leaving.state.next_offsets, "both have partitions")
            channel.there.available = False
            channel.here.append(*story(cases=20, facts=20))
            await until(lambda: staying.state.last_error and leaving.state.last_error, "both wait for the store")
        await channel.has_published(400)
        channel.there.available = True
        await channel.has_taken(400)
    channel.assert_all_arrived_once_and_in_order()


async def test_a_partition_that_leaves_while_nothing_can_be_stored_is_read_on_when_it_comes_back(
    channel: Channel,
) -> None:
    staying, visiting = channel.consumer(), channel.consumer()
    visiting.sink = MemoryJournal()
    async with at_work(channel.relay().run(), staying.run()):
        await until(lambda: len(staying.state.next_offsets) == 3, "one has all partitions")
        channel.there.writable = False
        channel.here.append(*story(cases=20, facts=5))
        await until(lambda: staying.state.last_error.startswith("StoreUnavailable"), "it waits for the store")
        async with at_work(visiting.run()):
            await until(lambda: visiting.state.next_offsets, "the other has partitions")
            channel.there.writable = True
            await until(lambda: staying.state.taken, "the first one takes records in again")
        channel.here.append(*story(cases=20, facts=5))
        await channel.has_taken(200)
    channel.assert_all_arrived_once_and_in_order()


async def test_what_another_process_has_stored_is_no_error_any_more(broker: RunningBroker) -> None:
    channel = make_channel(broker, partitions=1)
    consumer, there = channel.consumer(), channel.there
    there.writable = False
    channel.here.append(*story(cases=5, facts=4))

    def is_content_once_another_has_stored() -> bool:
        there.stored |= {cursor.name: cursor for cursor in there.refused}
        return not consumer.state.last_error

    async with at_work(channel.relay().run(), consumer.run()):
        await until(lambda: consumer.state.last_error.startswith("StoreUnavailable"), "it waits for the store")
        await until(is_content_once_another_has_stored, "nothing is left to wait for")


async def test_a_store_that_is_gone_when_partitions_are_assigned_is_waited_for(channel: Channel) -> None:
    consumer = channel.consumer()
    channel.there.available = False
    channel.here.append(*story(cases=10, facts=10))
    async with at_work(channel.relay().run(), consumer.run()):
        await until(lambda: consumer.state.last_error.startswith("StoreUnavailable"), "the consumer says so")
        channel.there.available = True
        await channel.has_taken(100)
    channel.assert_all_arrived_once_and_in_order()


async def test_while_the_journal_is_gone_the_relay_waits(channel: Channel) -> None:
    relay = channel.relay()
    channel.here.append(*story(cases=10, facts=10))
    channel.here.available = False
    async with at_work(relay.run(), channel.consumer().run()):
        await until(lambda: relay.state.last_error.startswith("StoreUnavailable"), "the relay says so")
        channel.here.available = True
        await channel.has_taken(100)
        await until(lambda: not relay.state.last_error, "all is well")
    channel.assert_all_arrived_once_and_in_order()


# --- the broker, or its topic, is not what it was ---


async def test_two_relays_of_one_journal_only_make_duplicates(channel: Channel) -> None:
    relays = [channel.relay(), channel.relay()]
    async with at_work(*(relay.run() for relay in relays), channel.consumer().run()):
        while not all(relay.state.published for relay in relays):
            # Whoever begins later does not publish what the other has published already.
            channel.here.append(*story(cases=1, facts=1))
            await asyncio.sleep(0.01)
        channel.here.append(*story(cases=10, facts=50))
        rows = len(channel.here.rows)
        await until(lambda: all(relay.state.position == rows for relay in relays), "both have published everything")
        await channel.has_taken(rows)
        assert sum(relay.state.published for relay in relays) >= rows + 500
    channel.assert_all_arrived_once_and_in_order()


@contextmanager
def restarted(
    broker: RunningBroker, meanwhile: Callable[[], Any] = lambda: None
) -> Iterator["subprocess.Popen[bytes]"]:
    """The same broker, killed and started again on the same ports; in between this is done."""
    broker.process.kill()
    broker.process.wait(30)
    meanwhile()
    process = subprocess.Popen(broker.process.args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


async def test_a_broker_that_is_killed_in_mid_stream_costs_nothing(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        channel = make_channel(broker, relay_batch=20)
        relay, consumer = channel.relay(), channel.consumer()
        records = story(cases=30, facts=100)
        channel.here.append(*records[:1500])
        async with at_work(relay.run(), consumer.run()):
            await channel.has_taken(300)
            assert len(channel.there.rows) < 1500
            with restarted(broker):
                channel.here.append(*records[1500:])
                await channel.has_taken(3000)
                await channel.has_published(3000)
                await until(lambda: not relay.state.last_error + consumer.state.last_error, "all is well")
        channel.assert_all_arrived_once_and_in_order()


def answers(channel: Channel) -> bool:
    try:
        channel.admin.wait_ready(1)
    except KafkaUnavailable:
        return False
    return True


async def test_older_data_of_the_broker_are_noticed_where_others_have_filled_the_gap(tmp_path: Path) -> None:
    data, old = tmp_path / "kafka" / "data", tmp_path / "old"
    with running_broker(tmp_path) as broker:
        channel = make_channel(broker, partitions=1, check_seconds=600, acknowledge_seconds=60)
        channel.here.append(*story(cases=1, facts=10))
        relay = channel.relay()
        async with at_work(relay.run()):
            await channel.has_published(10)
            with restarted(broker, lambda: shutil.copytree(data, old)) as process:
                channel.here.append(*story(cases=1, facts=10))
                await channel.has_published(20)
                process.kill()
                process.wait(30)
            shutil.rmtree(data)
            shutil.move(old, data)
            with restarted(broker):
                await until(lambda: answers(channel), "the broker is back")
                await channel.publish(*(Outgoing(b"noise", b"", {}) for _ in range(20)))
                channel.here.append(*story(cases=1, facts=10))
                await channel.has_published(30)
                await assert_all_is_on_the_topic(channel)
    assert relay.state.rewinds == 1


async def test_while_the_broker_is_gone_the_relay_says_so_and_loses_nothing(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        channel = make_channel(broker)
        relay = channel.relay()
        async with at_work(relay.run()):
            channel.here.append(*story(cases=1, facts=1))
            await channel.has_published(1)
            broker.process.kill()
            broker.process.wait(30)
            channel.here.append(*story(cases=10, facts=10))
            await until(lambda: relay.state.last_error.startswith("KafkaUnavailable"), "the relay says so")
            assert relay.state.oldest_waiting is not None
            assert channel.here.done.position == 1


async def test_a_topic_that_is_deleted_and_made_anew_gets_everything_again(channel: Channel) -> None:
    relay = channel.relay()
    channel.here.append(*story(cases=10, facts=10))
    async with at_work(relay.run(), channel.consumer().run()):
        await channel.has_taken(100)
        await remake(channel)
        channel.here.append(*story(cases=10, facts=10))
        await channel.has_taken(200)
        await channel.has_published(200)
    channel.assert_all_arrived_once_and_in_order()
    assert relay.state.rewinds >= 1
    await assert_all_is_on_the_topic(channel)


async def remake(channel: Channel) -> None:
    """Delete the topic and make it again."""
    before = channel.admin.topic_id(channel.settings.topic)
    client = AdminClient(channel.access.config())
    (deleted,) = client.delete_topics([channel.settings.topic]).values()
    await asyncio.to_thread(deleted.result, 30)

    def is_there() -> bool:
        try:
            channel.make_topic()
            return channel.admin.topic_id(channel.settings.topic) != before
        except KafkaUnavailable:
            return False

    await until(is_there, "the topic is there again")


async def test_what_was_on_its_way_while_the_topic_was_made_anew_is_taken_in_in_its_turn(channel: Channel) -> None:
    """A producer delivers to the new topic what it could not deliver to the one before: ahead of what was lost."""
    first, second = story(cases=1, facts=2)
    channel.here.append(first)
    async with at_work(channel.relay().run()):
        await channel.has_published(1)
    before = channel.admin.topic_id(channel.settings.topic)
    await remake(channel)
    await channel.publish(message_of(second, **of_topic(before)))
    channel.here.append(second)
    async with at_work(channel.consumer().run()):
        await asyncio.sleep(2 * channel.settings.check_seconds)  # it could take in what is there
        async with at_work(channel.relay().run()):
            await channel.has_taken(2)
    channel.assert_all_arrived_once_and_in_order()


async def assert_all_is_on_the_topic(channel: Channel) -> None:
    reader = replace(channel, there=MemoryJournal())
    async with at_work(reader.consumer().run()):
        await reader.has_taken(len(channel.here.rows))
    reader.assert_all_arrived_once_and_in_order()


async def test_a_topic_that_was_made_anew_while_nobody_looked_gets_everything_again(channel: Channel) -> None:
    channel.here.append(*story(cases=10, facts=10))
    async with at_work(channel.relay().run(), channel.consumer().run()):
        await channel.has_taken(100)
    await remake(channel)
    channel.here.append(*story(cases=10, facts=10))
    async with at_work(channel.relay().run(), channel.consumer().run()):
        await channel.has_taken(200)
    channel.assert_all_arrived_once_and_in_order()
    await assert_all_is_on_the_topic(channel)


async def test_records_that_the_topic_lost_are_published_again_from_the_newest_checkpoint_it_holds(
    broker: RunningBroker,
) -> None:
    channel = make_channel(broker, checkpoint_rows=10, relay_batch=10)
    channel.here.append(*story(cases=5, facts=10))
    async with at_work(channel.relay().run()):
        await channel.has_published(50)
    held = channel.here.kept[-1]
    # What a broker may do that came back without its last records: the journal's cursor names one that is not there.
    lost = Checkpoint(60, held.topic_id, held.partition, held.offset + 1000, str(uuid4()))
    channel.here.append(*story(cases=5, facts=2))
    channel.here.kept.append(lost)
    await channel.here.advance([lost], 0, keep=False)
    relay = channel.relay()
    async with at_work(relay.run(), channel.consumer().run()):
        await channel.has_taken(60)
        await channel.has_published(60)
    channel.assert_all_arrived_once_and_in_order()
    assert (relay.state.rewinds, relay.state.published) == (1, 60 - held.position)


async def test_records_whose_time_on_the_topic_is_over_are_not_lost(channel: Channel) -> None:
    channel.here.append(*story(cases=10, facts=10))
    async with at_work(channel.relay().run(), channel.consumer().run()):
        await channel.has_taken(100)
        await channel.has_published(100)
    await expire(channel)
    relay = channel.relay()
    channel.here.append(*story(cases=1, facts=1))
    async with at_work(relay.run(), channel.consumer().run()):
        await channel.has_taken(101)
        await channel.has_published(101)
    assert (relay.state.rewinds, relay.state.published) == (0, 1)
    assert len(channel.there.sources) == 101


async def expire(channel: Channel) -> None:
    """Let the topic forget everything it has now, as it does after its retention."""
    ends = [TopicPartition(channel.settings.topic, number, -1) for number in range(channel.settings.partitions)]
    client = AdminClient(channel.access.config())
    for forgotten in client.delete_records(ends).values():
        await asyncio.to_thread(forgotten.result, 30)
