"""Many requests over one bidirectional stream: several in a message, answered in any order, resumed when it is lost."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from clients.backoff import Backoff
from clients.base import completed
from clients.errors import DeadlineExceeded, Overloaded, RongheError, Unavailable, error_of_status
from clients.stream import Stream

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)

WINDOW = 256
# What one message carries at most, as the contract has it.
MESSAGE_ITEMS = 100
MESSAGE_BYTES = 1024 * 1024
# Attempts in a row to open the stream again, with nothing answered in between.
ATTEMPTS = 5


class Result(Protocol):
    """What a bulk stream answers to one request."""

    request_id: str
    failed: status_pb2.Status

    def WhichOneof(self, oneof_group: Any) -> Any:  # noqa: N802 - protobuf's name
        """The field of a oneof that is set."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[Req, Resp]):
    """One request, as it was sent, and its response or its error."""

    request: Req
    response: Resp | None
    error: RongheError | None

    def result(self) -> Resp:
        """The response; raises the error."""
        if self.response is None:
            assert self.error is not None  # noqa: S101 - one of the two is always there
            raise self.error
        return self.response


Open = Callable[[], "grpc.aio.StreamStreamCall[Any, Any]"]
Source = AsyncIterable[Req] | Iterable[Req]


class Pipeline(Generic[Req, Resp]):
    """One bulk run: at most `window` requests are unanswered at a time, and are sent again on a new stream.

    The requests keep their ids, so that sending one again has no second effect.
    """

    def __init__(self, open_stream: Open, wrap: Callable[[Sequence[Req]], Message], window: int = WINDOW) -> None:
        self._open = open_stream
        self._wrap = wrap
        self._room = asyncio.Semaphore(window)
        self._pending: dict[str, Req] = {}
        self._to_send: asyncio.Queue[Req | None] = asyncio.Queue()
        self._too_large: Req | None = None
        self._exhausted = False

    async def run(self, source: "Source[Req]") -> AsyncIterator[Answer[Req, Resp]]:
        """Answers in any order, until every request has one."""
        feeding = asyncio.create_task(self._feed(source))
        backoff = Backoff()
        try:
            while not self._finished():
                try:
                    async with aclosing(self._stream()) as answers:
                        async for answer in answers:
                            backoff.reset()
                            yield answer
                except (Unavailable, DeadlineExceeded) as error:
                    if backoff.attempts >= ATTEMPTS:
                        raise
                    await backoff.wait(error.retry_after)
            await feeding
        finally:
            feeding.cancel()

    def _finished(self) -> bool:
        return self._exhausted and not self._pending

    async def _feed(self, source: "Source[Req]") -> None:
        try:
            async for request in _each(source):
                await self._room.acquire()
                self._add(completed(request))
        finally:
            self._exhausted = True
            self._to_send.put_nowait(None)

    def _add(self, request: Req) -> None:
        """Known as unanswered before it is sent: the answer can come before the write returns."""
        request_id = _id_of(request)
        if request_id in self._pending:
            raise ValueError(f"the request id {request_id} is under way already: each request needs its own")
        self._pending[request_id] = request
        self._to_send.put_nowait(request)

    async def _stream(self) -> AsyncGenerator[Answer[Req, Resp], None]:
        """One stream, from its opening until its end."""
        self._send_again()
        stream = Stream(self._open())
        sending = asyncio.create_task(self._send(stream))
        try:
            async with aclosing(stream.messages()) as responses:
                async for response in responses:
                    for result in response.results:
                        answer = self._answer(result)
                        if answer is not None:
                            yield answer
            if self._too_large is not None:
                yield self._refuse(self._too_large)
        finally:
            sending.cancel()
            stream.cancel()

    def _send_again(self) -> None:
        self._to_send = asyncio.Queue()
        self._too_large = None
        for request in self._pending.values():
            self._to_send.put_nowait(request)
        if self._exhausted:
            self._to_send.put_nowait(None)

    async def _send(self, stream: Stream[Any, Any]) -> None:
        """Until there is no more, or a request that no message can carry, which ends the stream in good order."""
        request = await self._to_send.get()
        while request is not None:
            if self._size(request) > MESSAGE_BYTES:
                self._too_large = request
                break
            requests, following = self._fill(request)
            if not await stream.write(self._wrap(requests)):
                return
            request = following or await self._to_send.get()
        await stream.half_close()

    def _fill(self, first: Req) -> tuple[Sequence[Req], Req | None]:
        """What goes in one message with the first, of what is there to be sent; and the next, where it did not fit."""
        requests, size = [first], self._size(first)
        while len(requests) < MESSAGE_ITEMS and not self._to_send.empty():
            request = self._to_send.get_nowait()
            if request is None:
                self._to_send.put_nowait(None)
                break
            size += self._size(request)
            if size > MESSAGE_BYTES:
                return requests, request
            requests.append(request)
        return requests, None

    def _size(self, request: Req) -> int:
        """The bytes that it adds to a message."""
        return self._wrap([request]).ByteSize()

    def _refuse(self, request: Req) -> Answer[Req, Resp]:
        """As the server refuses it in a call of its own; on a stream it would end all others with it."""
        del self._pending[_id_of(request)]
        self._room.release()
        problem = f"the request has {request.ByteSize()} bytes, a message at most {MESSAGE_BYTES}: send less in one"
        return Answer(request, None, Overloaded("TOO_LARGE", problem, grpc.StatusCode.RESOURCE_EXHAUSTED))

    def _answer(self, result: Result) -> Answer[Req, Resp] | None:
        request = self._pending.pop(result.request_id, None)
        if request is None:
            return None
        self._room.release()
        name = result.WhichOneof("result")
        if name == "failed":
            return Answer(request, None, error_of_status(result.failed))
        return Answer(request, getattr(result, name), None)


def _id_of(request: Message) -> str:
    request_id: str = request.request_id  # type: ignore[attr-defined]
    return request_id


async def _each(source: "Source[Req]") -> AsyncIterator[Req]:
    if isinstance(source, AsyncIterable):
        async for request in source:
            yield request
        return
    for request in source:
        yield request
