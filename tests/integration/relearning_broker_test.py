"""What is learned from a topic that was made anew while records were on their way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from bridge.cloudevents import headers_of, of_topic
from bridge.kafka import Admin, Outgoing, Publisher
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
