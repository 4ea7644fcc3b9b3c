"""The inbox of the program under test as a stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc

from clients.conformance.desk import Desk, Fate
from clients.conformance.scenes import HELD
from clients.conformance.seen import End
from clients.conformance.wire import Context, fail, lose, stream_to
from clients.errors import error_of
from clients.stream import ENDED
from ronghe.inbox.v1 import inbox_service_pb2 as pb

# Seconds that the real server gets to store what was passed on.
STORING = 2.0


class Session:
    """One stream of the inbox between the program and the real server."""

    def __init__(self, desk: Desk, context: Context, upstream: "grpc.aio.StreamStreamCall[bytes, bytes]") -> None:
        self._desk = desk
        self._context = context
        self._upstream = upstream
        self._epoch = 0
        self._cut, self._storing = asyncio.Event(), False
        self._writing, self._passing = asyncio.Lock(), asyncio.Lock()

    @classmethod
    async def serve(
        cls, desk: Desk, channel: grpc.aio.Channel, path: str, requests: AsyncIterator[bytes], context: Context
    ) -> None:
        """From the opening to the end of the stream."""
        await desk.admit(context)
        session = cls(desk, context, stream_to(channel, path, context))
        await session._run(requests)

    async def _run(self, requests: AsyncIterator[bytes]) -> None:
        give, take = asyncio.ensure_future(self._give()), asyncio.ensure_future(self._take(requests))
        cut = asyncio.ensure_future(self._until_cut())
        why = End.PROGRAM
        try:
            await asyncio.wait({give, cut}, return_when=asyncio.FIRST_COMPLETED)
            why = End.CUT if self._cut.is_set() else End.SERVER
            if why is End.CUT:
                await lose(self._context)
            give.result()
        except grpc.aio.AioRpcError as failure:
            why = End.TAKEN_OVER if error_of(failure).reason == "SESSION_TAKEN_OVER" else End.SERVER
            await fail(self._context, failure)
        finally:
            self._desk.end(why)
            self._desk.spawn(self._close(give, take, cut))

    async def _until_cut(self) -> None:
        await self._cut.wait()

    async def _close(self, give: "asyncio.Task[None]", *others: "asyncio.Task[None]") -> None:
        """The real server has stored what was passed on before its stream ends, whatever became of the program's."""
        if self._storing:
            with suppress(*ENDED):
                async with self._passing:
                    await self._upstream.done_writing()
            await asyncio.wait({give}, timeout=STORING)
        for task in (give, *others):
            task.cancel()
        await asyncio.gather(give, *others, return_exceptions=True)
        self._upstream.cancel()

    # --- what the server sends ---

    async def _give(self) -> None:
        async for raw in self._upstream:
            response = pb.OpenInboxResponse.FromString(raw)
            self._epoch = response.epoch
            cut = await self._desk.prepare(response.items)
            await self._send(response)
            if again := self._desk.twice(response.items):
                await self._send(pb.OpenInboxResponse(epoch=self._epoch, items=again))
            if cut:
                self._cut.set()

    async def _send(self, response: pb.OpenInboxResponse) -> None:
        async with self._writing:
            self._desk.give(response.items)
            await self._context.write(response.SerializeToString())

    # --- what the program says ---

    async def _take(self, requests: AsyncIterator[bytes]) -> None:
        try:
            async for raw in requests:
                request = pb.OpenInboxRequest.FromString(raw)
                if request.HasField("acknowledge"):
                    await self._take_acknowledgements(request.acknowledge)
                else:
                    await self._pass(request)
            async with self._passing:
                await self._upstream.done_writing()
        except ENDED:
            return  # the other direction tells why

    async def _take_acknowledgements(self, said: pb.OpenInboxRequest.Acknowledge) -> None:
        self._desk.put_off(said.nacks)
        await self._pass_acknowledgements(pb.OpenInboxRequest.Acknowledge(nacks=said.nacks))
        for sequence in said.sequences:
            await self._settle(sequence, self._desk.acknowledge(sequence))

    async def _settle(self, sequence: int, fate: Fate) -> None:
        one = pb.OpenInboxRequest.Acknowledge(sequences=[sequence])
        match fate:
            case Fate.PASSED:
                await self._pass_acknowledgements(one)
            case Fate.HELD:
                self._desk.spawn(self._pass_later(one))
            case Fate.LOST:
                self._cut.set()
            case Fate.REPEATED:
                await self._pass_acknowledgements(one)
                await self._send(pb.OpenInboxResponse(epoch=self._epoch, items=[self._desk.item(sequence)]))
            case Fate.CUT:
                # First: whatever ends this stream meanwhile, the program is to find the inbox closed.
                self._desk.script.close()
                self._storing = True
                await self._pass_acknowledgements(one)
                self._cut.set()
            case Fate.KILLED:
                self._storing = True
                self._desk.kill()
                await self._pass_acknowledgements(one)

    async def _pass_later(self, said: pb.OpenInboxRequest.Acknowledge) -> None:
        await asyncio.sleep(HELD)
        with suppress(*ENDED):
            await self._pass_acknowledgements(said)

    async def _pass_acknowledgements(self, said: pb.OpenInboxRequest.Acknowledge) -> None:
        if said.sequences or said.nacks:
            await self._pass(pb.OpenInboxRequest(acknowledge=said))

    async def _pass(self, request: pb.OpenInboxRequest) -> None:
        async with self._passing:
            await self._upstream.write(request.SerializeToString())
