"""What a consumer takes in of partitions that change hands."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from bridge import consumer
from bridge.consumer import KafkaConsumer
from bridge.kafka import Incoming, KafkaAccess
from bridge.ports import Arrived, Cursor, Undecodable
from bridge.settings import BridgeSettings


@dataclass
class Journal:
    """Keeps what it is given."""

    epoch: int = 1
    taken: list[str] = field(default_factory=list)
    stored: dict[str, Cursor] = field(default_factory=dict)

    async def absorb(self, items: Sequence[Arrived | Undecodable], cursors: Sequence[Cursor]) -> None:
        self.taken += [item.source for item in items]
        self.stored |= {cursor.name: cursor for cursor in cursors}

    async def cursors(self, prefix: str) -> Sequence[Cursor]:
        return []


class Cluster:
    """A topic that is there, and holds nothing that was read before."""

    def __init__(self, access: object) -> None:
        """Asks nobody."""

    def topic_id(self, topic: str) -> str:
        return "id"

    def missing(self, topic: str, events: Mapping[object, str]) -> Sequence[object]:
        return ()


class Hands:
    """Has two partitions; a later call gives a message of each, and gives one of the two up meanwhile."""

    read = 0

    def __init__(
        self,
        access: object,
        settings: BridgeSettings,
        group: str,
        start_at: Callable[[Sequence[int]], Mapping[int, int]],
        revoked: Callable[[Sequence[int]], None],
        instance: str,
    ) -> None:
        self.lost = False
        self._start_at, self._revoked = start_at, revoked
        self._calls = iter((self._gets_both, self._gives_one_up))

    def consume(self) -> list[Incoming]:
        call = next(self._calls, None)
        if call is None:
            type(self).read += 1
            return []
        return call()

    def _gets_both(self) -> list[Incoming]:
        self._start_at([0, 1])
        return []

    def _gives_one_up(self) -> list[Incoming]:
        self._revoked([0])
        return [message(0), message(1)]

    def commit(self, offsets: dict[int, int]) -> None:
        """Nobody looks."""

    def lag(self, partition: int, next_offset: int) -> int:
        return 0

    def close(self) -> threading.Thread:
        ended = threading.Thread(target=lambda: None)
        ended.start()
        return ended


def message(partition: int) -> Incoming:
    return Incoming(partition, 7, str(uuid4()).encode(), b"", {"ce_id": b"1", "topic-id": b"id"})


async def test_what_comes_of_a_partition_that_was_just_given_up_is_left_to_whoever_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it would be kept for good, and be taken for one that stands still."""
    monkeypatch.setattr(consumer, "Admin", Cluster)
    monkeypatch.setattr(consumer, "Subscriber", Hands)
    journal, spans = Journal(), Any
    feeding = KafkaConsumer(
        journal, KafkaAccess(""), BridgeSettings(topic="t"), spans, "group", "governance-01", lambda name: True
    )
    running = asyncio.create_task(feeding.run())
    async with asyncio.timeout(30):
        while Hands.read < 3:  # noqa: ASYNC110 - it is read on a thread
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert feeding.state.next_offsets == {1: 8}
    assert journal.taken == ["kafka/t/id/1/7"]
    assert list(journal.stored) == ["kafka/t/1"]
