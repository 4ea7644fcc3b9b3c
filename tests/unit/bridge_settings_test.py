"""Each measure of the channel that is set arrives where it has its effect."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from queue import Queue
from typing import Any
from unittest.mock import Mock

import confluent_kafka
import pytest

from bridge import consumer, kafka, relay
from bridge.consumer import KafkaConsumer
from bridge.kafka import KafkaAccess, Outgoing, Publisher, Subscriber, Undelivered
from bridge.record import Record
from bridge.relay import Relay
from bridge.settings import BridgeSettings
from clients.backoff import Backoff
from tests.integration.memory import MemoryJournal

NOBODY = KafkaAccess("")
SPANS: Any = None


def subscriber(settings: BridgeSettings) -> Subscriber:
    return Subscriber(NOBODY, settings, "group", lambda _: {}, lambda _: None)


@pytest.mark.parametrize(
    ("client", "settings", "told"),
    [
        ("Producer", {"in_flight": 2}, {"max.in.flight.requests.per.connection": 2}),
        ("Producer", {"queued_messages": 300}, {"queue.buffering.max.messages": 300}),
        ("Producer", {"linger_ms": 7.5}, {"linger.ms": 7.5}),
        ("Producer", {"compression": "zstd"}, {"compression.type": "zstd"}),
        ("Consumer", {"fetch_min_bytes": 999}, {"fetch.min.bytes": 999}),
        ("Consumer", {"fetch_wait_ms": 333}, {"fetch.wait.max.ms": 333}),
        ("Consumer", {"pace_seconds": 0.07}, {"fetch.queue.backoff.ms": 70}),
    ],
)
def test_a_client_is_told_what_is_set(
    client: str, settings: dict[str, Any], told: Mapping[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is the library's own: it would not have a setting that is none."""
    made = Mock(side_effect=getattr(confluent_kafka, client))
    monkeypatch.setattr(kafka, client, made)
    if client == "Producer":
        Publisher(NOBODY, BridgeSettings(**settings)).close()
    else:
        subscriber(BridgeSettings(**settings)).close().join()
    assert made.call_args.args[0].items() >= told.items()


def test_clients_are_asked_for_so_long_and_for_so_many_records_as_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, library = BridgeSettings(poll_seconds=0.03, consume_batch=17), Mock()
    monkeypatch.setattr(kafka, "Consumer", library)
    library().poll.return_value = Mock(error=lambda: None, headers=list)
    library().consume.return_value = []
    library().assignment.return_value = []
    assert len(subscriber(settings).consume()) == 1
    library().poll.assert_called_once_with(0.03)
    library().consume.assert_called_once_with(16, 0)

    polled: Queue[float] = Queue()
    monkeypatch.setattr(kafka, "Producer", Mock(return_value=Mock(poll=polled.put)))
    publisher = Publisher(NOBODY, settings)
    assert polled.get(timeout=30) == 0.03
    publisher.close()


async def test_what_nobody_acknowledges_is_given_up_after_as_long_as_is_set() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        access = KafkaAccess(f"127.0.0.1:{silent.getsockname()[1]}")
        publisher = Publisher(access, BridgeSettings(acknowledge_seconds=0.25))
        with pytest.raises(Undelivered, match=r"within 0\.25 s"):
            await publisher.publish([Outgoing(b"key", b"value", {})])
        await asyncio.to_thread(publisher.close)


def publishing(journal: MemoryJournal, **settings: Any) -> relay._Pass:
    return relay._Pass(Relay(journal, NOBODY, BridgeSettings(**settings), SPANS), Backoff())


@pytest.mark.parametrize(("settings", "rows"), [({}, 9), ({"relay_batch": 4}, 4), ({"relay_bytes": 350}, 3)])
async def test_a_pass_publishes_no_more_rows_and_bytes_than_are_set(settings: dict[str, int], rows: int) -> None:
    journal, now = MemoryJournal(), datetime.now(UTC)
    for number in range(9):
        journal.append(Record(str(number), "here-01", "case", "s/1", 1, (), now, "t", b"x" * 100, None))
    assert len(await publishing(journal, **settings)._next()) == rows


async def test_of_large_rows_hardly_more_are_read_than_are_published() -> None:
    journal, now, asked = MemoryJournal(), datetime.now(UTC), []
    for number in range(90):
        body = b"x" * (100 if number < 40 else 1)
        journal.append(Record(str(number), "here-01", "case", "s/1", 1, (), now, "t", body, None))
    published, unpublished = publishing(journal, relay_bytes=1_000), journal.unpublished

    async def counted(after: int, limit: int) -> tuple[Sequence[Record], int]:
        asked.append(limit)
        return await unpublished(after, limit)

    journal.unpublished = counted  # type: ignore[method-assign]
    passes = [len(await published._next()) for _ in range(7)]
    assert passes == [10, 10, 10, 10, 20, 30, 0]
    assert asked == [32, 10, 20, 10, 20, 40, 80]


async def test_passes_of_the_relay_and_of_the_consumer_are_paced_as_is_set() -> None:
    settings = BridgeSettings(pace_seconds=0.07)
    feeding = KafkaConsumer(MemoryJournal(), NOBODY, settings, SPANS, "group", "here-01", bool)
    pacers = publishing(MemoryJournal(), pace_seconds=0.07)._pacer, consumer._Session(feeding, Backoff())._pacer
    assert [pacer.seconds for pacer in pacers] == [0.07, 0.07]
