"""The inbox of the program under test where it polls: FetchInbox and AckInbox."""

import asyncio
from typing import NoReturn

import grpc

from clients.conformance.desk import Desk, Fate
from clients.conformance.scenes import HELD
from clients.conformance.seen import End
from clients.conformance.wire import Context, lose, pass_on
from ronghe.inbox.v1 import inbox_service_pb2 as pb


class Fetching:
    """A fetch gives again whatever is not acknowledged, so a lost answer is a lost connection."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._again: list[pb.InboxItem] = []

    async def fetch(self, channel: grpc.aio.Channel, path: str, body: bytes, context: Context) -> bytes:
        """What waits."""
        await self._desk.admit(context)
        response = pb.FetchInboxResponse.FromString(await pass_on(channel, path, body, context))
        if await self._desk.prepare(response.items):
            await self._lose(context)
        again, self._again = self._again, []
        response.items.extend([*again, *self._desk.twice(response.items)])
        self._desk.give(response.items)
        return response.SerializeToString()

    async def acknowledge(self, channel: grpc.aio.Channel, path: str, body: bytes, context: Context) -> bytes:
        """What the program keeps, and what it puts off."""
        request = pb.AckInboxRequest.FromString(body)
        self._desk.put_off(request.nacks)
        fates = {sequence: self._desk.acknowledge(sequence) for sequence in request.sequences}
        if Fate.LOST in fates.values():
            await self._lose(context)
        if Fate.HELD in fates.values():
            await asyncio.sleep(HELD)
        if Fate.KILLED in fates.values():
            self._desk.kill()
        if Fate.CUT in fates.values():
            self._desk.script.close()
        answer = await pass_on(channel, path, body, context)
        self._again += [self._desk.item(sequence) for sequence, fate in fates.items() if fate is Fate.REPEATED]
        if Fate.CUT in fates.values():
            await self._lose(context)
        return answer

    async def _lose(self, context: Context) -> NoReturn:
        self._desk.end(End.CUT)
        await lose(context)
