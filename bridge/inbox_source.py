"""The inbox source: pulls what another subsystem has for this one, and acknowledges what the journal has."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC

import structlog

from bridge.cloudevents import SPECVERSION, UNREADABLE, Malformed, problem_of, readable_case
from bridge.crash import crash_point
from bridge.ports import Arrived, Sink, StoreUnavailable, Undecodable
from bridge.record import Arrival, Record, canonical, parse_fact
from bridge.settings import BridgeSettings
from clients.backoff import Backoff
from clients.errors import RongheError, SessionTakenOver
from clients.inbox import Item
from clients.subsystem import SubsystemClient
from ronghe.event.v1.event_pb2 import Event

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

    async def run(self) -> None:
        """Pull until cancelled; failures are waited out."""
        backoff = Backoff(self.settings.retry_first_seconds, self.settings.retry_longest_seconds)
        while True:
            error = None
            try:
                error = await self._pull(backoff)
            finally:
                self._lost(error)
            if error is not None:
                log.warning("inbox_source.waiting", peer=self.peer, reason=error.reason)
            # A replica that has the inbox now shall keep it for a while.
            taken_over = isinstance(error, SessionTakenOver)
            await backoff.wait(self.settings.retry_longest_seconds if taken_over else None)

    async def _pull(self, backoff: Backoff) -> RongheError | None:
        """Until the session ends; gives the reason.

        Batches are stored side by side: a case's next item comes only after its previous one was acknowledged.
        """
        inbox = self.client.inbox(credit=CREDIT, receiver_epoch=self.sink.epoch)
        inbox.on_lost = self._lost
        async with asyncio.TaskGroup() as storing:
            try:
                async with aclosing(inbox.batches()) as batches:
                    async for batch in batches:
                        self.state.connected, self.state.last_error = True, ""
                        if batch:
                            backoff.reset()
                            storing.create_task(self._store(batch))
            except RongheError as error:
                return error
        return None

    def _lost(self, error: RongheError | None) -> None:
        self.state.connected = False
        if error is not None:
            self.state.last_error = str(error)

    async def _store(self, batch: Sequence[Item]) -> None:
        """What is stored after the session ended is acknowledged when it is given again."""
        backoff = Backoff(self.settings.retry_first_seconds, self.settings.retry_longest_seconds)
        items = [decode(item.event, f"inbox/{self.peer}/{item.epoch}/{item.sequence}") for item in batch]
        while True:
            try:
                await self.sink.absorb(items, [])
                break
            except StoreUnavailable as error:
                self.state.last_error = f"{type(error).__name__}: {error}"
                await backoff.wait()
        crash_point("before-ack")
        for item in batch:
            await item.ack()
        self.state.last_sequence = max(self.state.last_sequence, batch[-1].sequence)
        self.state.last_error = ""


def decode(event: Event, source: str) -> Arrived | Undecodable:
    """The record of an inbox item, as its origin wrote it, or what could not be read as one."""
    name = event.fact.type_url.rpartition("/")[2]
    try:
        return Arrived(_record(event, name), source)
    except UNREADABLE as error:
        fields = {
            "ce_specversion": SPECVERSION,
            "ce_id": event.id,
            "ce_source": event.origin,
            "ce_type": name,
            "ce_time": _time(event),
            "ce_subject": event.stream,
            "ce_streamversion": str(event.version),
            "ce_causes": ",".join(event.causes),
        }
        headers = {key: text.encode() for key, text in fields.items()}
        return Undecodable(source, readable_case(event.case_id.encode()), headers, event.fact.value, problem_of(error))


def _record(event: Event, name: str) -> Record:
    if "\0" in f"{event.origin}{event.stream}{name}":
        raise Malformed("its envelope holds a NUL character")
    return Record(
        event_id=canonical(event.id),
        origin=event.origin,
        case_id=canonical(event.case_id),
        stream=event.stream,
        version=event.version,
        causes=tuple(map(canonical, event.causes)),
        recorded_at=event.recorded_at.ToDatetime(UTC),
        type=name,
        body=event.fact.value,
        fact=parse_fact(name, event.fact.value),
        arrival=Arrival.INBOX,
    )


def _time(event: Event) -> str:
    """As CloudEvents write it; empty where it is no time."""
    try:
        return event.recorded_at.ToDatetime(UTC).isoformat(timespec="microseconds")
    except UNREADABLE:
        return ""
