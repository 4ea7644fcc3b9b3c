"""The inbox source: pulls what another subsystem has for this one, and acknowledges what the journal has."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC
from uuid import UUID

import structlog

from bridge.backoff import Backoff
from bridge.ports import Arrived, Sink, StoreUnavailable
from bridge.record import Arrival, Record, parse_fact
from bridge.settings import BridgeSettings
from clients.errors import RongheError
from clients.inbox import Item
from clients.subsystem import SubsystemClient

log = structlog.get_logger()

CREDIT = 1_000


@dataclass(slots=True)
class SourceState:
    """How the source is doing."""

    connected: bool = False
    last_sequence: int = 0
    last_error: str = ""


@dataclass(eq=False)
class InboxSource:
    """Feeds one journal from one inbox."""

    sink: Sink
    client: SubsystemClient
    peer: str
    """The deployment it pulls from, for example "intake-01"."""
    settings: BridgeSettings
    state: SourceState = field(default_factory=SourceState)
    _storing: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Pull until cancelled; failures are waited out."""
        backoff = Backoff(self.settings.retry_first_seconds, self.settings.retry_longest_seconds)
        while True:
            try:
                await self._pull(backoff)
            except RongheError as error:
                self.state.connected, self.state.last_error = False, f"{error.reason}: {error.message}"
                log.warning("inbox_source.waiting", peer=self.peer, reason=error.reason)
            finally:
                for task in self._storing:
                    task.cancel()
            await asyncio.sleep(backoff.fail())

    async def _pull(self, backoff: Backoff) -> None:
        """A case's next item comes only after its previous one was acknowledged, so batches may overtake each other."""
        async for batch in self.client.inbox(credit=CREDIT).batches():
            self.state.connected, self.state.last_error = True, ""
            backoff.succeed()
            if batch:
                task = asyncio.create_task(self._store(batch))
                self._storing.add(task)
                task.add_done_callback(self._storing.discard)

    async def _store(self, batch: Sequence[Item]) -> None:
        backoff = Backoff(self.settings.retry_first_seconds, self.settings.retry_longest_seconds)
        arrived = [Arrived(to_record(item), f"inbox/{self.peer}/{item.epoch}/{item.sequence}") for item in batch]
        while True:
            try:
                await self.sink.absorb(arrived, [])
                break
            except StoreUnavailable as error:
                self.state.last_error = str(error)
                await asyncio.sleep(backoff.fail())
        for item in batch:
            await item.ack()
        self.state.last_sequence = max(self.state.last_sequence, batch[-1].sequence)


def to_record(item: Item) -> Record:
    """The record of an item, as its origin wrote it."""
    event = item.event
    name = event.fact.type_url.rpartition("/")[2]
    return Record(
        event_id=UUID(event.id),
        origin=event.origin,
        case_id=event.case_id,
        stream=event.stream,
        version=event.version,
        causes=tuple(UUID(cause) for cause in event.causes),
        recorded_at=event.recorded_at.ToDatetime(UTC),
        type=name,
        body=event.fact.value,
        fact=parse_fact(name, event.fact.value),
        arrival=Arrival.INBOX,
    )
