from collections import defaultdict
from collections.abc import Sequence
from typing import get_args
from uuid import UUID

from confluent_kafka import KafkaError, Message, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from clients.demo.plan import Desk, Ending
from clients.identity import Identity
from ronghe.event.v1 import event_pb2
from servers.collaboration.facts import SaidByCenter
from tests.e2e.drive import Mesh, play, stories
from tests.e2e.topic import TOPIC, access, consumer, header, headers, published, read_topic

SERVICE = Identity("service", "governance-01")
HEADERS = {
    "content-type",
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_subject",
    "ce_streamversion",
    "ce_causes",
    "traceparent",
    "topic-id",
}


async def test_a_case_lies_on_one_partition_in_order_as_cloud_events(mesh: Mesh, desks: Sequence[Desk]) -> None:
    told = stories(desks, Ending)
    await play(mesh, told)

    messages = published(mesh)

    partitions = defaultdict(set)
    for message in messages:
        _assert_is_cloud_event(message)
        partitions[message.key()].add(message.partition())
    assert {header(message, "topic-id") for message in messages} == {_topic_id(mesh)}
    assert {len(found) for found in partitions.values()} == {1}
    assert len(set().union(*partitions.values())) > 1
    assert {story.case_id.encode() for story in told} <= set(partitions)


async def test_versions_of_a_stream_grow_and_causes_come_first(mesh: Mesh, desks: Sequence[Desk]) -> None:
    await play(mesh, stories(desks, [Ending.PAUSED, Ending.WITHDRAWN]))

    versions: dict[str, int] = {}
    seen: set[str] = set()
    for message in published(mesh):
        event_id, stream = header(message, "ce_id"), header(message, "ce_subject")
        if event_id in seen:
            # Published again, because a publisher was killed before it knew that it had.
            continue
        seen.add(event_id)
        version = int(header(message, "ce_streamversion"))
        assert version > versions.get(stream, 0), stream
        versions[stream] = version
        assert {cause for cause in header(message, "ce_causes").split(",") if cause} <= seen


def test_an_organ_cannot_read_the_topic(mesh: Mesh, desks: Sequence[Desk]) -> None:
    with consumer(mesh, Identity("organ", desks[0].organ.id)) as reader:
        found = reader.list_topics(TOPIC, timeout=10).topics[TOPIC]
        assert found.error is not None
        assert found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_an_organ_cannot_write_to_the_topic(mesh: Mesh, desks: Sequence[Desk]) -> None:
    errors: list[KafkaError | None] = []
    writer = Producer(access(mesh, Identity("organ", desks[0].organ.id)) | {"message.timeout.ms": 5_000})

    writer.produce(TOPIC, b"forged", key=b"forged", on_delivery=lambda error, message: errors.append(error))
    writer.flush(10)

    (error,) = errors
    assert error is not None
    assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert b"forged" not in {message.key() for message in read_topic(mesh)}


def _topic_id(mesh: Mesh) -> str:
    """As Kafka's own tools print it."""
    client = AdminClient(access(mesh, SERVICE))
    (described,) = client.describe_topics(TopicCollection([TOPIC])).values()
    return str(described.result(10).topic_id).replace("+", "-").replace("/", "_")


def _assert_is_cloud_event(message: Message) -> None:
    kind, _, name = header(message, "ce_subject").partition("/")
    fact_name = header(message, "ce_type").removeprefix("ronghe.event.v1.")
    is_head = fact_name == "JournalHead"
    # A journal's signed head is of no case, and so in no trace.
    assert headers(message).keys() == HEADERS - ({"traceparent"} if is_head else set())
    assert header(message, "ce_specversion") == "1.0"
    assert header(message, "content-type") == "application/protobuf"
    case_id = (message.key() or b"").decode()
    assert str(UUID(case_id)) == case_id
    assert name.endswith(case_id) or kind in ("collaboration", "task", "journal")
    assert is_head or header(message, "traceparent").split("-")[1] == UUID(case_id).hex
    fact = getattr(event_pb2, fact_name)()
    fact.ParseFromString(message.value() or b"")
    assert fact.HasField("occurred_at")
    said_by = name if is_head else SAID_BY.get(fact_name, "department-01")
    assert header(message, "ce_source") == said_by


SAID_BY = dict.fromkeys(("Submitted", "Supplemented", "WithdrawalRequested"), "intake-01") | {
    fact.__name__: "governance-01" for fact in get_args(SaidByCenter)
}
