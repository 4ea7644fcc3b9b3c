"""Reads the raw topic as any Kafka client would, and decodes CloudEvents by itself."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from faults.checker.history import Event, TopicRecord

TOPIC = "ronghe.cases.v1"
SECONDS = 20.0
POLL_SECONDS = 0.2
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read(access: Mapping[str, Any]) -> Sequence[TopicRecord]:
    """Everything that is on the topic now; of each partition in its order. `access`: the client library's settings."""
    settings = {"group.id": f"faults-{uuid4()}", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**access, **settings})
    try:
        topic_id = _topic_id(access)
        return [record for message in _messages(consumer) if (record := decode(message, topic_id)) is not None]
    finally:
        consumer.close()


def _messages(consumer: Consumer) -> Sequence[Any]:
    found: Sequence[int] = list(consumer.list_topics(TOPIC, SECONDS).topics[TOPIC].partitions)
    ends = {}
    for number in found:
        low, high = consumer.get_watermark_offsets(TopicPartition(TOPIC, number), SECONDS)
        if high > low:
            ends[number] = high
    consumer.assign([TopicPartition(TOPIC, number, 0) for number in ends])
    messages: list[Any] = []
    patience = time.monotonic() + SECONDS
    while ends:
        batch: Sequence[Any] = consumer.consume(1000, POLL_SECONDS)
        if batch:
            patience = time.monotonic() + SECONDS
        elif time.monotonic() > patience:
            raise TimeoutError(f"the topic gave nothing for {SECONDS:.0f} s, {len(ends)} partitions are unfinished")
        for message in batch:
            if message.error() is not None:
                raise RuntimeError(message.error().str())
            messages.append(message)
            if message.offset() + 1 >= ends.get(message.partition(), 0):
                ends.pop(message.partition(), None)
    return messages


def _topic_id(access: Mapping[str, Any]) -> str:
    """As Kafka's own tools print it."""
    client = AdminClient(dict(access))  # it must live until it is answered
    (described,) = client.describe_topics(TopicCollection([TOPIC])).values()
    return str(described.result(SECONDS).topic_id).replace("+", "-").replace("/", "_")


def decode(message: Any, topic_id: str) -> TopicRecord | None:
    """The record of a message; None where it is no event: poison that a campaign wrote itself.

    Nor is one that was meant for a topic before this one: no reader counts it.
    """
    headers = {name: value.decode("utf-8", "replace") for name, value in message.headers() or ()}
    if headers.get("topic-id", topic_id) != topic_id:
        return None
    try:
        event = Event(
            id=headers["ce_id"],
            origin=headers["ce_source"],
            case_id=message.key().decode(),
            stream=headers["ce_subject"],
            version=int(headers["ce_streamversion"]),
            causes=tuple(cause for cause in headers["ce_causes"].split(",") if cause),
            type=headers["ce_type"],
            recorded_at=_micros(headers["ce_time"]),
            body=message.value(),
        )
    except (KeyError, ValueError, AttributeError):
        return None
    return TopicRecord(message.partition(), message.offset(), event)


def _micros(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)
