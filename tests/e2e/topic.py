"""Reads the topic as any Kafka client would."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, Message, TopicPartition

from clients.identity import Identity
from tests.e2e.drive import SUBSYSTEMS, Mesh

TOPIC = "ronghe.cases.v1"
SERVICE = Identity("service", "governance-01")


def access(mesh: Mesh, identity: Identity) -> dict[str, Any]:
    """The client library's settings for a party."""
    certificate = mesh.pki / identity.kind / f"{identity.id}.pem"
    return {
        "bootstrap.servers": mesh.addresses["kafka"],
        "security.protocol": "ssl",
        "ssl.ca.location": str(mesh.pki / "ca.pem"),
        "ssl.certificate.location": str(certificate),
        "ssl.key.location": str(certificate.with_suffix(".key")),
        "ssl.endpoint.identification.algorithm": "none",
    }


@contextmanager
def consumer(mesh: Mesh, identity: Identity = SERVICE) -> Iterator[Consumer]:
    """A consumer in a group of its own."""
    opened = Consumer(access(mesh, identity) | {"group.id": f"test-{uuid4()}", "auto.offset.reset": "earliest"})
    try:
        yield opened
    finally:
        opened.close()


def read_topic(mesh: Mesh) -> list[Message]:
    """Everything that is on the topic now; of each partition in its order."""
    with consumer(mesh) as reader:
        partitions = [TopicPartition(TOPIC, number, 0) for number in reader.list_topics(TOPIC).topics[TOPIC].partitions]
        wanted = sum(reader.get_watermark_offsets(partition)[1] for partition in partitions)
        reader.assign(partitions)
        messages: list[Message] = []
        while len(messages) < wanted:
            messages += reader.consume(min(1000, wanted - len(messages)), 5)
    assert all(message.error() is None for message in messages)
    return messages


def published(mesh: Mesh) -> list[Message]:
    """What the mesh itself decided and published; other tests put forgeries beside it."""
    statement = "SELECT event_id FROM journal WHERE arrival = 1"
    decided = {name for subsystem in SUBSYSTEMS for (name,) in mesh.rows(subsystem, statement)}
    return [message for message in read_topic(mesh) if headers(message).get("ce_id") in decided]


def headers(message: Message) -> dict[str, str]:
    """The headers as text."""
    raw: Any = message.headers()
    return {name: value.decode() for name, value in raw or ()}


def header(message: Message, name: str) -> str:
    """The text of a header."""
    return headers(message)[name]
