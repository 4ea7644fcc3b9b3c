"""What is learned from a topic that was made anew while records were on their way, or whose oldest go meanwhile."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from bridge import kafka
from bridge.cloudevents import headers_of, of_topic
from bridge.kafka import Admin, KafkaAccess, KafkaUnavailable, Outgoing, Publisher, everything
from bridge.ports import Arrived, Undecodable
from bridge.record import Arrival, Record
from bridge.relearning import Lesson
from bridge.settings import BridgeSettings
from clients.identity import Identity
from tests.broker import RunningBroker
from tests.integration.bridge_test import record_of

OWN, FOREIGN = "governance-01", "department-01"
BEFORE = "of-the-topic-before"


@dataclass
class Pupil:
    """A restored journal that has nothing."""

    learned: list[Record] = field(default_factory=list)

    async def lacking(self, records: Sequence[Record]) -> Sequence[Record]:
        return records

    async def relearn(
        self, items: Sequence[Arrived | Undecodable], originals: Mapping[str, Record], left_behind: set[str]
    ) -> None:
        self.learned += [item.record for item in items if isinstance(item, Arrived)]


async def test_what_was_meant_for_the_topic_before_is_learned_once_and_own_words_are_said_again(
    broker: RunningBroker,
) -> None:
    settings = BridgeSettings(topic=f"test.{uuid4().hex}", partitions=1)
    access = broker.access(Identity("service", OWN))
    admin = Admin(access)
    admin.ensure_topic(settings, 1, {})
    here = admin.topic_id(settings.topic)
    lost, again, strange, heard = (record_of(str(uuid4()), 1, origin=origin) for origin in (OWN, OWN, FOREIGN, FOREIGN))
    publisher = Publisher(access, settings)
    await publisher.publish(
        [
            message(lost, BEFORE),
            message(again, BEFORE),
            message(strange, BEFORE),
            message(again, here),
            message(heard, here),
        ]
    )
    publisher.close()
    pupil = Pupil()
    await Lesson(pupil, access, settings, OWN, lambda name: True).learn()
    assert {record.event_id: record.arrival for record in pupil.learned} == {
        lost.event_id: Arrival.OWN,  # nobody else has it: it is published again
        again.event_id: Arrival.KAFKA,
        heard.event_id: Arrival.KAFKA,
    }
    assert len(pupil.learned) == 3


def message(record: Record, topic_id: str) -> Outgoing:
    return Outgoing(record.case_id.encode(), record.body, headers_of(record) | of_topic(topic_id))


async def published(broker: RunningBroker, count: int) -> tuple[KafkaAccess, BridgeSettings]:
    """A topic of one partition with so many messages."""
    settings = BridgeSettings(topic=f"test.{uuid4().hex}", partitions=1)
    access = broker.access(Identity("service", OWN))
    Admin(access).ensure_topic(settings, 1, {})
    publisher = Publisher(access, settings)
    await publisher.publish([Outgoing(b"one case", b"%d" % number, {}) for number in range(count)])
    publisher.close()
    return access, settings


def overtaken(monkeypatch: pytest.MonkeyPatch, access: KafkaAccess, before: int) -> None:
    """Retention deletes what is before this offset, once a reader has looked up where to begin and end."""

    admin = AdminClient(access.config())

    class Late(Consumer):
        def assign(self, partitions: list[TopicPartition]) -> None:
            topic = partitions[0].topic
            for deleted in admin.delete_records([TopicPartition(topic, 0, before)]).values():
                deleted.result(30)
            super().assign([TopicPartition(topic, 0, 0)])

    monkeypatch.setattr(kafka, "Consumer", Late)


async def learned(access: KafkaAccess, settings: BridgeSettings) -> list[bytes | None]:
    def read() -> list[bytes | None]:
        return [message.value for messages in everything(access, settings) for message in messages]

    async with asyncio.timeout(30):
        return await asyncio.to_thread(read)


async def test_what_follows_a_beginning_that_is_gone_before_it_is_read_is_learned(
    broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    access, settings = await published(broker, 5)
    overtaken(monkeypatch, access, 3)
    assert await learned(access, settings) == [b"3", b"4"]


async def test_a_partition_that_empties_before_it_is_read_is_not_waited_for(
    broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    access, settings = await published(broker, 5)
    overtaken(monkeypatch, access, 5)
    assert await learned(access, settings) == []


async def test_a_topic_of_which_nothing_is_told_is_not_taken_for_an_empty_one(broker: RunningBroker) -> None:
    access = broker.access(Identity("service", OWN))
    with pytest.raises(KafkaUnavailable, match="Unknown topic or partition"):
        await learned(access, BridgeSettings(topic=f"test.{uuid4().hex}"))
