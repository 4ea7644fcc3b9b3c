"""One open inbox stream, and what is remembered from one stream to the next."""

import asyncio
from collections import OrderedDict
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from clients.errors import RongheError
from clients.stream import Stream
from ronghe.inbox.v1 import inbox_service_pb2 as pb

InboxStream = Stream[pb.OpenInboxRequest, pb.OpenInboxResponse]

# What the contract allows in one message.
MOST = 1000
# Seconds that the last acknowledgements get to reach the server.
CLOSING = 2.0


class Progress:
    """What the caller was given and what it has acknowledged: at most `credit` items are between the two."""

    def __init__(self, credit: int, from_sequence: int) -> None:
        self._credit = credit
        self._replaying = from_sequence > 0
        self._epoch = 0
        self._next = from_sequence
        self._given: set[int] = set()
        self._done: OrderedDict[int, None] = OrderedDict()

    @property
    def from_sequence(self) -> int:
        """Where the next stream begins: 0 for whatever is unacknowledged."""
        return min(self._given, default=self._next) if self._replaying else 0

    def enter(self, epoch: int) -> bool:
        """Sequences count anew in another epoch; False where the stream must be opened anew for that.

        A replay began at a sequence of the epoch before: it begins at the first one now.
        """
        if epoch == self._epoch:
            return True
        self._given.clear()
        self._done.clear()
        begins_anew = self._replaying and self._epoch > 0
        self._epoch = epoch
        if begins_anew:
            self._next = 1
        return not begins_anew

    def give(self, sequence: int) -> None:
        """The caller gets this item."""
        self._given.add(sequence)
        self._next = max(self._next, sequence + 1)

    def finish(self, sequence: int, epoch: int) -> None:
        """The caller has acknowledged this item; remembered for as long as the server may not know.

        In another epoch its sequence is another item's.
        """
        if epoch != self._epoch:
            return
        self._given.discard(sequence)
        self._done[sequence] = None
        while len(self._done) > self._credit:
            self._done.popitem(last=False)

    def is_finished(self, sequence: int) -> bool:
        """Whether the caller has acknowledged it already, on an earlier stream."""
        return sequence in self._done


class Session:
    """Sends acknowledgements in batches: those said while a message is on its way go into the next one."""

    def __init__(self, stream: InboxStream, opening: pb.OpenInboxRequest.Open, progress: Progress) -> None:
        self._stream = stream
        self._progress = progress
        self._sequences: list[int] = []
        self._nacks: list[pb.Nack] = []
        self._said = asyncio.Event()
        self._closing = False
        self._sending = asyncio.create_task(self._send(pb.OpenInboxRequest(open=opening)))

    def acknowledge(self, sequence: int, epoch: int) -> None:
        """The item is the caller's to keep."""
        self._progress.finish(sequence, epoch)
        self._sequences.append(sequence)
        self._said.set()

    def put_off(self, sequence: int, delay: timedelta) -> None:
        """Give the item again after the delay."""
        nack = pb.Nack(sequence=sequence, delay=Duration())
        nack.delay.FromTimedelta(delay)
        self._nacks.append(nack)
        self._said.set()

    def finish(self) -> None:
        """Send what was said, then let the server end the stream."""
        self._closing = True
        self._said.set()

    async def close(self) -> None:
        """Finish, and wait for the end; for whoever reads the messages."""
        self.finish()
        try:
            async with asyncio.timeout(CLOSING):
                await self._sending
                async for _ in self._stream.messages():
                    pass
        except (TimeoutError, RongheError):
            pass  # what the server does not know it gives again
        finally:
            self._sending.cancel()
            self._stream.cancel()

    async def _send(self, opening: pb.OpenInboxRequest) -> None:
        alive = await self._stream.write(opening)
        while alive and (not self._closing or self._said.is_set()):
            await self._said.wait()
            self._said.clear()
            alive = await self._send_said()
        await self._stream.half_close()

    async def _send_said(self) -> bool:
        while self._sequences or self._nacks:
            said = pb.OpenInboxRequest.Acknowledge(sequences=self._sequences[:MOST], nacks=self._nacks[:MOST])
            del self._sequences[:MOST], self._nacks[:MOST]
            if not await self._stream.write(pb.OpenInboxRequest(acknowledge=said)):
                return False
        return True
