"""InboxService, the same on every subsystem."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import closing

from ronghe.error.v1.reason_pb2 import Reason
from ronghe.inbox.v1 import inbox_service_pb2 as pb
from servers.kernel import inbox
from servers.kernel.inbox import Acknowledgement, Item
from servers.kernel.inbox_session import InboxSession, delivered
from servers.kernel.kernel import Kernel
from servers.kernel.signals import LOOK_SECONDS, wait
from servers.kernel.stream import FieldViolation, Refused
from servers.kernel.times import to_micros
from servers.rpc.call import Call

# The session of receivers that fetch: any of their calls may acknowledge.
FETCHING = "fetch"
DEFAULT_LIMIT = 100
# An answer that nothing has come shall be there before the caller gives up.
ANSWER_SECONDS = 0.5


class InboxServicer:
    """Hands the caller what this subsystem has for it."""

    service = pb.DESCRIPTOR.services_by_name["InboxService"]
    polls = ("FetchInbox",)

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def OpenInbox(  # noqa: N802 - the contract's name
        self, requests: AsyncIterator[pb.OpenInboxRequest], call: Call
    ) -> AsyncIterator[pb.OpenInboxResponse]:
        """Stream items as there is credit."""
        opening = await anext(requests, None)
        if opening is None or opening.WhichOneof("message") != "open":
            raise _not_open()
        with closing(InboxSession(self._kernel, str(call.caller), opening.open)) as session:
            await session.open()
            listening = asyncio.create_task(_listen(session, requests))
            try:
                async for message in session.messages():
                    yield message
            finally:
                listening.cancel()

    async def FetchInbox(self, request: pb.FetchInboxRequest, call: Call) -> pb.FetchInboxResponse:  # noqa: N802
        """Give what waits, or wait for it."""
        receiver = str(call.caller)
        await self._take_session(receiver, call)
        limit = request.limit or DEFAULT_LIMIT
        end = min(time.monotonic() + request.wait.ToMicroseconds() / 1_000_000, call.deadline - ANSWER_SECONDS)
        grown = asyncio.Event()
        with self._kernel.signals.inbox(receiver, lambda _: grown.set()):
            while True:
                grown.clear()
                items = await self._fetch(receiver, limit)
                remaining = end - time.monotonic()
                if items or remaining <= 0:
                    return pb.FetchInboxResponse(epoch=self._kernel.epoch, items=[item.to_message() for item in items])
                await wait(grown, min(remaining, await self._untold(receiver)))

    async def AckInbox(self, request: pb.AckInboxRequest, call: Call) -> pb.AckInboxResponse:  # noqa: N802
        """Acknowledge what was fetched."""
        receiver, sequences = str(call.caller), list(request.sequences)
        now = to_micros(self._kernel.clock.now())
        put_off = [(nack.sequence, now + nack.delay.ToMicroseconds()) for nack in request.nacks]
        await self._kernel.acknowledge(Acknowledgement(receiver, FETCHING, sequences, put_off), call.deadline)
        items = await self._kernel.read(lambda connection: inbox.named(connection, receiver, sequences))
        for item in items:
            delivered(self._kernel, receiver, item)
        return pb.AckInboxResponse()

    async def _take_session(self, receiver: str, call: Call) -> None:
        live = await self._kernel.read(lambda connection: inbox.session_of(connection, receiver))
        if live != FETCHING:
            await self._kernel.open_session(receiver, FETCHING, epoch=0, deadline=call.deadline)

    async def _fetch(self, receiver: str, limit: int) -> list[Item]:
        now = to_micros(self._kernel.clock.now())
        return list(
            await self._kernel.read(lambda connection: inbox.first_of_each_case(connection, receiver, now, limit))
        )

    async def _untold(self, receiver: str) -> float:
        """Seconds after which to look again: what was put off may be given, or another replica may have written."""
        is_told = self._kernel.database.is_sqlite and await self._kernel.read(
            lambda connection: inbox.is_empty(connection, receiver)
        )
        return math.inf if is_told else LOOK_SECONDS


async def _listen(session: InboxSession, requests: AsyncIterator[pb.OpenInboxRequest]) -> None:
    """Take the receiver's messages until it stops sending or breaks the protocol."""
    try:
        async for request in requests:
            if request.WhichOneof("message") != "acknowledge":
                raise _not_open()  # noqa: TRY301 - ends the session like any other failure
            await session.acknowledge(request.acknowledge)
        await session.end()
    except Exception as error:
        session.fail(error)


def _not_open() -> Refused:
    return Refused(
        Reason.REASON_INVALID_FIELD,
        "the first message of an inbox must be `open`, and no later one",
        violations=[FieldViolation("message", "the first message must be `open`, and no later one")],
    )
