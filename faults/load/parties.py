"""The receivers: every delivery is written down before it is acknowledged."""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass

from clients.errors import RongheError
from clients.identity import Identity
from clients.inbox import Item
from clients.subsystem import SubsystemClient
from faults.load.durable import DurableLog
from ronghe.event.v1.event_pb2 import Event

PAUSE_SECONDS = 0.5


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
    """With what every session begins; 0: with what waits."""

    async def run(self) -> None:
        """Take what comes, until cancelled; a session that ends is opened again."""
        while True:
            try:
                await self._session()
            except* RongheError:  # also one alone comes as a group: of the session and of what was taken from it
                await asyncio.sleep(PAUSE_SECONDS)

    async def _session(self) -> None:
        async with asyncio.TaskGroup() as group:
            async for item in self.client.inbox(from_sequence=self.from_sequence):
                group.create_task(self._take(item))

    async def _take(self, item: Item) -> None:
        entry = {
            "kind": "given",
            "subsystem": self.subsystem,
            "receiver": str(self.party),
            "epoch": item.epoch,
            "sequence": item.sequence,
            "event": base64.b64encode(item.event.SerializeToString()).decode(),
        }
        await self.log.write(entry)
        self.told(str(self.party), item.event)
        await item.ack()
