"""The receivers: every delivery is written down before it is acknowledged.

Most go by the client library, which passes over what it has acknowledged and is given again. Some speak the contract
itself, as a stream or by fetching: they write down whatever comes, before anything else looks at it.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from clients.errors import RongheError
from clients.identity import Identity
from clients.inbox import Item
from clients.stream import Stream
from clients.subsystem import SubsystemClient
from faults.load.durable import DurableLog
from ronghe.event.v1.event_pb2 import Event
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from ronghe.inbox.v1.inbox_service_pb2_grpc import InboxServiceStub

PAUSE_SECONDS = 0.5
CREDIT = 200
MOST_FETCHED = 200
WAIT = Duration(seconds=2)


@dataclass(frozen=True, slots=True)
class Receiver:
    """One party's inbox at one subsystem."""

    subsystem: str
    party: Identity
    client: SubsystemClient
    log: DurableLog
    told: Callable[[str, Event], None]
    """Called with the receiver's name and each event that it gets, repeats included."""
    from_sequence: int = 0
    """With what every session begins; 0: with what waits. Who fetches gets what waits."""

    async def run(self) -> None:
        """Take what comes, until cancelled; a session that ends is opened again."""
        session = WAYS.get(str(self.party), _by_the_library)
        while True:
            try:
                await session(self)
            except* RongheError:  # also one alone comes as a group: of the session and of what was taken from it
                await asyncio.sleep(PAUSE_SECONDS)

    async def take(self, epoch: int, items: Sequence[inbox.InboxItem]) -> None:
        """Write all of them down; then whoever acts on them is told."""
        await asyncio.gather(*(self.log.write(self._entry(epoch, item)) for item in items))
        for item in items:
            self.told(str(self.party), item.event)

    def _entry(self, epoch: int, item: inbox.InboxItem) -> Mapping[str, str | int]:
        return {
            "kind": "given",
            "subsystem": self.subsystem,
            "receiver": str(self.party),
            "epoch": epoch,
            "sequence": item.sequence,
            "event": base64.b64encode(item.event.SerializeToString()).decode(),
        }


async def _by_the_library(receiver: Receiver) -> None:
    async with asyncio.TaskGroup() as group:
        async for item in receiver.client.inbox(from_sequence=receiver.from_sequence):
            group.create_task(_take_one(receiver, item))


async def _take_one(receiver: Receiver, item: Item) -> None:
    await receiver.take(item.epoch, [item.message])
    await item.ack()


async def _by_the_contract(receiver: Receiver) -> None:
    """One stream, with nothing between it and the log."""
    stream = Stream(InboxServiceStub(receiver.client._channel).OpenInbox())
    opening = inbox.OpenInboxRequest.Open(credit=CREDIT, from_sequence=receiver.from_sequence)
    try:
        await stream.write(inbox.OpenInboxRequest(open=opening))
        async for answer in stream.messages():
            await receiver.take(answer.epoch, answer.items)
            if answer.items:
                said = inbox.OpenInboxRequest.Acknowledge(sequences=[item.sequence for item in answer.items])
                await stream.write(inbox.OpenInboxRequest(acknowledge=said))
    except asyncio.CancelledError:
        if _is_cancelled():
            raise  # else the connection was closed, for a renewed certificate
    finally:
        stream.cancel()
    await asyncio.sleep(PAUSE_SECONDS)  # the server has ended it without a word


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _by_fetching(receiver: Receiver) -> None:
    """What waits, and then again."""
    while True:
        found = await receiver.client.fetch_inbox(inbox.FetchInboxRequest(limit=MOST_FETCHED, wait=WAIT))
        if found.items:
            await receiver.take(found.epoch, found.items)
            sequences = [item.sequence for item in found.items]
            await receiver.client.ack_inbox(inbox.AckInboxRequest(sequences=sequences))


WAYS: Mapping[str, Callable[[Receiver], Awaitable[None]]] = {
    "organ/urban-mgmt-500103": _by_the_contract,
    "organ/planning-500103": _by_the_contract,
    "center/500103": _by_the_contract,
    "organ/market-reg-500103003": _by_fetching,
}
"""Who does not go by the client library: a lead, one who is asked, a center; and a lead that fetches."""
