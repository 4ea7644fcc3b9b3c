"""A publisher that is to end while its records are acknowledged, or loses its brokers in the middle of a batch."""

import asyncio
import time
from typing import Any

import pytest

from bridge import kafka
from bridge.kafka import NO_BROKER, Delivered, KafkaAccess, KafkaUnavailable, Outgoing, Publisher, _Batch
from bridge.settings import BridgeSettings


class Acknowledged:
    """A message as the client library gives it back."""

    def partition(self) -> int:
        return 2

    def offset(self) -> int:
        return 7


async def test_a_batch_that_is_acknowledged_has_its_places() -> None:
    batch, message = _Batch(1), Acknowledged()
    acknowledge: Any = batch.taker(0)
    acknowledge(None, message)
    assert await batch.delivered(10.0) == [Delivered(2, 7)]


@pytest.mark.parametrize("ticks", range(8))
async def test_who_is_cancelled_in_the_moment_of_the_acknowledgement_ends(ticks: int) -> None:
    batch = _Batch(1)
    acknowledge: Any = batch.taker(0)

    async def relay() -> None:
        await batch.delivered(10.0)
        await asyncio.Event().wait()  # for more to publish

    at_work = asyncio.create_task(relay())
    for _ in range(5):
        await asyncio.sleep(0)
    acknowledge(None, Acknowledged())
    for _ in range(ticks):
        await asyncio.sleep(0)
    at_work.cancel()
    done, _ = await asyncio.wait({at_work}, timeout=1.0)
    assert done
    assert at_work.cancelled()


async def test_nothing_of_a_batch_is_sent_any_more_once_the_brokers_were_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent before is let go, or lost with the broker: the rest would stand on the topic without it."""
    produced: list[bytes] = []

    class Producer:
        def __init__(self, config: object) -> None:
            """Reaches no broker."""

        def produce(self, topic: str, *, value: bytes, **_: object) -> None:
            produced.append(value)
            publisher.lost = publisher.lost or value == b"2"

        def poll(self, seconds: float) -> None:
            time.sleep(seconds)

        def purge(self) -> None:
            """Holds nothing."""

        def flush(self, seconds: float) -> None:
            """Nothing."""

    monkeypatch.setattr(kafka, "Producer", Producer)
    publisher = Publisher(KafkaAccess(""), BridgeSettings(acknowledge_seconds=0.2))
    try:
        with pytest.raises(KafkaUnavailable, match=NO_BROKER):
            await publisher.publish([Outgoing(b"case", b"%d" % number, {}) for number in range(5)])
    finally:
        await asyncio.to_thread(publisher.close)
    assert produced == [b"0", b"1", b"2"]
