"""A bidirectional call whose end is told in the server's own words."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Generic, TypeVar

import grpc
from grpc import StatusCode

from clients.errors import RongheError, Unavailable, cut_off, error_of

Req = TypeVar("Req")
Resp = TypeVar("Resp")
T = TypeVar("T")

# What a write says that fails because the stream has ended.
ENDED = (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
# Seconds to wait for the server's status when a failed write was noticed first.
PATIENCE = 1.0


class Stream(Generic[Req, Resp]):
    """Writes and reads that may end at any moment; only the reader learns why.

    A write that fails because the server has just ended the stream makes grpc.aio report INTERNAL in place of the
    server's status (grpc issue 36066), before or after that arrives. So the server's own status is kept when it comes.
    """

    def __init__(self, call: "grpc.aio.StreamStreamCall[Req, Resp]") -> None:
        self._call = call
        self._status: grpc.aio.AioRpcError | None = None
        self._ended = asyncio.Event()
        call.add_done_callback(self._note)

    async def write(self, message: Req) -> bool:
        """Send a message; False when the stream has ended."""
        try:
            await self._call.write(message)
        except ENDED:
            return False
        except asyncio.CancelledError as cancelled:
            cut_off(cancelled)
            return False
        return True

    async def half_close(self) -> None:
        """Say that nothing more will be sent."""
        try:
            await self._call.done_writing()
        except ENDED:
            return
        except asyncio.CancelledError as cancelled:
            cut_off(cancelled)

    async def messages(self) -> AsyncGenerator[Resp, None]:
        """What the server sends, until it ends the stream; raises RongheError."""
        try:
            async for message in self._call:
                yield message
        except grpc.aio.AioRpcError as failure:
            error = await self._reason(failure)
            if error is not None:
                raise error from failure
        except asyncio.CancelledError as cancelled:
            raise cut_off(cancelled) from cancelled

    def cancel(self) -> None:
        """Drop the stream."""
        self._call.cancel()

    def _note(self, call: Any) -> None:
        """Called with each status the call gets, grpc's own ones included."""
        code, details = _value(call.code()), _value(call.details())
        if not _is_of_a_write(code, details):
            metadata = _value(call.trailing_metadata())
            self._status = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, details)
            self._ended.set()

    async def _reason(self, failure: grpc.aio.AioRpcError) -> RongheError | None:
        """Why the stream ended; None when it ended well."""
        if not _is_of_a_write(failure.code(), failure.details()):
            return error_of(failure)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._ended.wait()
        except TimeoutError:
            return Unavailable(StatusCode.UNAVAILABLE.name, "the stream was lost", StatusCode.UNAVAILABLE)
        assert self._status is not None  # noqa: S101 - it came with the event
        return None if self._status.code() is StatusCode.OK else error_of(self._status)


def _is_of_a_write(code: StatusCode, details: str | None) -> bool:
    """Whether this is grpc.aio's own word on a failed write."""
    return code is StatusCode.INTERNAL and details == "Internal error from Core"


def _value(coroutine: Coroutine[Any, Any, T]) -> T:
    """The value of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a call that is done has a status")
