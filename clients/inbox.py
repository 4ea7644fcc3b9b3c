"""The caller's inbox: what a subsystem has for it, as an endless iterator that survives lost connections."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from grpc import StatusCode

from clients.backoff import Backoff
from clients.base import ServiceClient, trace_metadata
from clients.errors import RongheError
from clients.inbox_session import Progress, Session
from clients.stream import Stream
from ronghe.event.v1.event_pb2 import Event
from ronghe.inbox.v1 import inbox_service_pb2 as pb
from ronghe.inbox.v1.inbox_service_pb2_grpc import InboxServiceStub

if TYPE_CHECKING:
    from ronghe.inbox.v1.inbox_service_pb2_grpc import InboxServiceAsyncStub

CREDIT = 200

# Ends of a session after which a new one would end in the same way.
FINAL = (
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.PERMISSION_DENIED,
    StatusCode.UNAUTHENTICATED,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.UNIMPLEMENTED,
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Item:
    """One event for the caller. Make its effect durable, then acknowledge; de-duplicate by (event.origin, event.id)."""

    message: pb.InboxItem
    epoch: int
    _session: Session = field(repr=False)

    @property
    def sequence(self) -> int:
        """1, 2, 3 ... for this receiver."""
        return self.message.sequence

    @property
    def event(self) -> Event:
        """The fact with its envelope."""
        return self.message.event

    async def ack(self) -> None:
        """The item is the caller's to keep. Sent soon, together with others; one that is lost is said again."""
        self._session.acknowledge(self.sequence, self.epoch)

    async def nack(self, delay: timedelta) -> None:
        """Give it, and its case's later items, again after the delay (at most 1 hour)."""
        self._session.put_off(self.sequence, delay)


class Inbox:
    """Iterate over it, or over its `batches`. It ends with an error that a new session would meet again.

    `SessionTakenOver` is one: another session of the same receiver has the inbox now.
    """

    def __init__(self, stub: "InboxServiceAsyncStub", credit: int, from_sequence: int, receiver_epoch: int) -> None:
        self._stub = stub
        self._credit = credit
        self._receiver_epoch = receiver_epoch
        self._progress = Progress(credit, from_sequence)
        self._session: Session | None = None
        self._finished = False
        self.on_lost: Callable[[RongheError | None], None] | None = None
        """Called when a session has ended, with the reason where there is one, and a new one is tried."""

    def __aiter__(self) -> AsyncIterator[Item]:
        return self._items()

    async def batches(self) -> AsyncGenerator[Sequence[Item], None]:
        """The items as they came, many in one message."""
        backoff = Backoff(longest=5.0)
        while not self._finished:
            lost = None
            try:
                async with aclosing(self._one_session()) as batches:
                    async for batch in batches:
                        # What cannot be delivered shall not be asked for without a pause.
                        if batch:
                            backoff.reset()
                        yield batch
            except RongheError as error:
                if error.code in FINAL:
                    raise
                lost = error
            if not self._finished:
                if lost:
                    log.info("inbox.lost", reason=lost.reason)
                if self.on_lost:
                    self.on_lost(lost)
                await backoff.wait(lost.retry_after if lost else None)

    def finish(self) -> None:
        """Let the iteration end, once what was acknowledged is sent."""
        self._finished = True
        if self._session is not None:
            self._session.finish()

    async def _items(self) -> AsyncIterator[Item]:
        async with aclosing(self.batches()) as batches:
            async for batch in batches:
                for item in batch:
                    yield item

    async def _one_session(self) -> AsyncGenerator[Sequence[Item], None]:
        opening = pb.OpenInboxRequest.Open(
            credit=self._credit, from_sequence=self._progress.from_sequence, receiver_epoch=self._receiver_epoch
        )
        stream = Stream(self._stub.OpenInbox(metadata=trace_metadata()))
        session = Session(stream, opening, self._progress)
        self._session = session
        try:
            async with aclosing(stream.messages()) as messages:
                async for message in messages:
                    if not self._progress.enter(message.epoch):
                        return
                    yield self._fresh(session, message)
        finally:
            await session.close()

    def _fresh(self, session: Session, response: pb.OpenInboxResponse) -> list[Item]:
        """What the caller has not acknowledged yet; the rest is acknowledged again."""
        fresh = []
        for message in response.items:
            if self._progress.is_finished(message.sequence):
                session.acknowledge(message.sequence, response.epoch)
            else:
                self._progress.give(message.sequence)
                fresh.append(Item(message, response.epoch, session))
        return fresh


class InboxClient(ServiceClient):
    """InboxService, as a stream or by fetching."""

    def open(self, credit: int = CREDIT, from_sequence: int = 0, receiver_epoch: int = 0) -> Inbox:
        """The inbox as a stream; `credit` items may be unacknowledged at a time, `from_sequence` replays from there.

        `receiver_epoch`: of the caller's own record.
        """
        return Inbox(InboxServiceStub(self._channel), credit, from_sequence, receiver_epoch)

    async def fetch(self, request: pb.FetchInboxRequest) -> pb.FetchInboxResponse:
        """What waits; the deadline allows for the request's `wait`."""
        timeout = self._timeout + request.wait.ToTimedelta().total_seconds()
        return await self._call(InboxServiceStub(self._channel).FetchInbox, request, timeout)

    async def ack(self, request: pb.AckInboxRequest) -> pb.AckInboxResponse:
        """Acknowledge what was fetched; durable when this returns."""
        return await self._call(InboxServiceStub(self._channel).AckInbox, request)
