"""What every typed client does with a call: complete it, bound it, repeat it, and say why it failed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import grpc
import uuid_utils
from google.protobuf.message import Message

from clients.backoff import Backoff
from clients.errors import DeadlineExceeded, RongheError, Unavailable, cut_off, error_of
from clients.telemetry import SpanContext, format_traceparent

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp")
M = TypeVar("M", bound=Message)

TIMEOUT = 10.0
ATTEMPTS = 3

_span: ContextVar[SpanContext | None] = ContextVar("ronghe_span", default=None)


@contextmanager
def calls_under(span: SpanContext) -> Iterator[None]:
    """Calls made in this block belong to the span: their server spans are its children."""
    token = _span.set(span)
    try:
        yield
    finally:
        _span.reset(token)


def trace_metadata() -> tuple[tuple[str, str], ...]:
    """The metadata that carries the current span, where there is one."""
    span = _span.get()
    return () if span is None else (("traceparent", format_traceparent(span)),)


def completed(request: M) -> M:
    """A copy with a `request_id` and an `occurred_at` (now), where the contract has them and the caller left them out.

    A caller that may have to repeat a call after its own crash sets both, and keeps them.
    """
    copy: Any = type(request)()
    copy.CopyFrom(request)
    fields = request.DESCRIPTOR.fields_by_name
    if "request_id" in fields and not copy.request_id:
        copy.request_id = str(uuid_utils.uuid7())
    if "occurred_at" in fields and not copy.HasField("occurred_at"):
        copy.occurred_at.GetCurrentTime()
    return copy  # type: ignore[no-any-return]


class ServiceClient:
    """The base of the typed clients of one service.

    Methods take the contract's request and give its response, or raise a `clients.errors.RongheError`. A call that got
    no answer is repeated with the same request, at most ATTEMPTS times; every command has an id, so it has one effect.
    """

    def __init__(self, channel: grpc.aio.Channel, timeout: float = TIMEOUT) -> None:
        self._channel = channel
        self._timeout = timeout

    async def _call(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[Req, Resp]", request: Req, seconds: float | None = None
    ) -> Resp:
        """One logical call; it gets so many seconds for each attempt."""
        request, backoff = completed(request), Backoff()
        error: RongheError | None = None
        while True:
            try:
                return await method(request, timeout=seconds or self._timeout, metadata=trace_metadata())
            except grpc.aio.AioRpcError as failure:
                error = error_of(failure)
            except asyncio.CancelledError as cancelled:
                error = cut_off(cancelled)
            except grpc.aio.UsageError:
                if error is None:
                    raise
                raise error from None  # the client was closed in the middle of the call
            if not isinstance(error, Unavailable | DeadlineExceeded) or backoff.attempts + 1 >= ATTEMPTS:
                raise error
            await backoff.wait(error.retry_after)
