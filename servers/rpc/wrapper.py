"""The one wrapper around every call: identity, access, validation, deadline, span, metrics, errors."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode

from clients.telemetry import SpanSink
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused
from servers.rpc.access import Rule, method_name, rule_of
from servers.rpc.call import Call
from servers.rpc.door import Door
from servers.rpc.errors import abort, code_of, turn_away
from servers.rpc.identity import caller_of
from servers.rpc.overload import Admission, shutting_down
from servers.rpc.requests import Requests
from servers.rpc.spans import ServerSpan
from servers.rpc.validation import parse, validate

T = TypeVar("T")
Work = Callable[[Call], Awaitable[T]]
Context = grpc.aio.ServicerContext[Any, Any]
# grpc's own class is generic for the type checker only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

DEFAULT_DEADLINE = 10.0
# A call with less time than this is answered before any work: its caller would not see the result.
LEAST_REMAINING = 0.005


class Servicer(Protocol):
    """A plain class with one method per RPC of its service.

    `async def Unary(self, request, call) -> response`; `async def Stream(self, requests, call)` is an asynchronous
    generator of responses. An attribute `bulk` names streaming RPCs whose messages the servicer validates itself, so
    that a bad one is answered as one item and does not end the stream; an attribute `polls`, unary RPCs that wait for
    something to come, and end without it where the server closes.
    """

    service: ServiceDescriptor


class Observer(Protocol):
    """Takes the figures of a finished call."""

    def __call__(self, method: str, kind: str, code: str, seconds: float) -> None:
        """`kind` is the caller's, empty when unknown; `code` a gRPC status name."""


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC as the wrapper needs it."""

    name: str
    rule: Rule
    request: type[Message]
    function: Callable[..., Any]
    bulk: bool
    polls: bool

    def read(self, body: bytes) -> Message:
        """A message that came in, valid; raises Refused."""
        message = parse(self.request, body)
        if not self.bulk:
            validate(message)
        return message


class Wrapper:
    """Makes grpc handlers of servicers; `domain` is the trust domain of the callers' certificates."""

    def __init__(
        self, domain: str, door: Door, calls: Admission, streams: Admission, spans: SpanSink, observe: Observer
    ) -> None:
        self._domain = domain
        self._door = door
        self._calls = calls
        self._streams = streams
        self._spans = spans
        self._observe = observe
        self._open: set[Requests[Message]] = set()
        self._unanswered: set[asyncio.Task[Any]] = set()
        """Until the library has written the answer."""
        self._working: set[asyncio.Task[Any]] = set()
        self._polling: set[asyncio.Task[Any]] = set()
        self._cut: set[asyncio.Task[Any]] = set()

    def handlers(self, servicer: Servicer) -> dict[str, Handler]:
        """One handler for each RPC; raises MissingRule, and AttributeError when the servicer lacks a method."""
        return {method.name: self._handler(servicer, method) for method in servicer.service.methods}

    def close(self) -> None:
        """Take no more calls, and let the streams come to their end."""
        self._calls.close()
        self._streams.close()
        for requests in self._open:
            requests.cut()
        self._end(self._polling)

    async def answered(self, seconds: float) -> int:
        """Wait, for so long at most, until the calls that are here now are answered; gives how many are not."""
        if not self._unanswered:
            return 0
        _, late = await asyncio.wait(self._unanswered, timeout=seconds)
        return len(late)

    def cut(self) -> None:
        """Their time is over: refuse what is still in progress."""
        self._end(self._working)

    def _end(self, tasks: set[asyncio.Task[Any]]) -> None:
        for task in tasks - self._cut:
            self._cut.add(task)
            task.cancel()

    def _handler(self, servicer: Servicer, descriptor: MethodDescriptor) -> Handler:
        method = _method(servicer, descriptor)
        respond = _serializer
        match descriptor.client_streaming, descriptor.server_streaming:
            case False, False:
                return grpc.unary_unary_rpc_method_handler(self._unary(method), None, respond)
            case True, True:
                return grpc.stream_stream_rpc_method_handler(self._stream(method), None, respond)
            case _:
                raise TypeError(f"{method.name} streams one way only: the wrapper knows unary and both ways")

    def _unary(self, method: Method) -> Callable[..., Any]:
        async def answer(body: bytes, context: Context) -> Message:
            async def work(call: Call) -> Message:
                response: Message = await method.function(method.read(body), call)
                return response

            if self._door.is_crowded:
                # Before anything is looked at: the sooner those that wait are refused, the more can be done.
                self._observe(method.name, "", StatusCode.RESOURCE_EXHAUSTED.name, 0.0)
                await turn_away(context, self._door.return_after)
            # At a caller's own deadline grpc itself cancels the call.
            timed = work if context.time_remaining() is not None else _within(DEFAULT_DEADLINE, work)
            return await self._answer(method, context, self._calls, DEFAULT_DEADLINE, timed)

        return answer

    def _stream(self, method: Method) -> Callable[..., Any]:
        async def answer(bodies: AsyncIterator[bytes], context: Context) -> None:
            async def work(call: Call) -> None:
                async with (
                    self._requests(method, bodies) as requests,
                    aclosing(method.function(requests, call)) as responses,
                ):
                    async for response in responses:
                        await _write(context, response)
                    if requests.cut_short:
                        raise shutting_down()

            await self._answer(method, context, self._streams, math.inf, work)

        return answer

    @asynccontextmanager
    async def _requests(self, method: Method, bodies: AsyncIterator[bytes]) -> AsyncIterator[Requests[Message]]:
        requests = Requests(bodies, method.read, self._door.quiet)
        self._open.add(requests)
        try:
            yield requests
        finally:
            self._open.discard(requests)

    async def _answer(
        self, method: Method, context: Context, admission: Admission, default_deadline: float, work: Work[T]
    ) -> T:
        """Everything around the work of one call."""
        span = ServerSpan(context.invocation_metadata())
        code, kind = StatusCode.OK, ""
        try:
            caller = caller_of(context.auth_context(), self._domain)
            kind = caller.kind
            with admission, self._cuttable(polls=method.polls):
                scope = method.rule.scope_of(caller)
                return await work(Call(caller, scope, method.name, _deadline(context, default_deadline), span.context))
        except asyncio.CancelledError:
            code = StatusCode.CANCELLED
            raise
        except Exception as error:
            code = code_of(error)
            await abort(context, error, method.name)
        finally:
            self._observe(method.name, kind, code.name, span.record(self._spans, method.name, kind, code))

    @contextmanager
    def _cuttable(self, *, polls: bool) -> Iterator[None]:
        """Work that ends with a reason when it is cut, and not as if its caller had cancelled it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a call is answered by one
        self._unanswered.add(task)
        task.add_done_callback(self._unanswered.discard)
        self._working.add(task)
        if polls:
            self._polling.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if task not in self._cut:
                raise
            task.uncancel()
            raise shutting_down() from None
        finally:
            for tasks in (self._working, self._polling, self._cut):
                tasks.discard(task)


def _method(servicer: Servicer, descriptor: MethodDescriptor) -> Method:
    return Method(
        method_name(descriptor),
        rule_of(descriptor),
        GetMessageClass(descriptor.input_type),
        getattr(servicer, descriptor.name),
        descriptor.name in getattr(servicer, "bulk", ()),
        descriptor.name in getattr(servicer, "polls", ()),
    )


async def _write(context: Context, response: Message) -> None:
    """To a caller who leaves meanwhile it is a call that he has cancelled, which the library says otherwise here."""
    try:
        await context.write(response)
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None


def _serializer(message: Message) -> bytes:
    return message.SerializeToString()


def _deadline(context: Context, default: float) -> float:
    """time.monotonic() at which the caller gives up."""
    remaining: float | None = context.time_remaining()
    if remaining is None:
        return time.monotonic() + default
    if remaining < LEAST_REMAINING:
        raise _too_late("the call came with its deadline all but passed: nothing was done")
    return time.monotonic() + remaining


def _within(seconds: float, work: Work[T]) -> Work[T]:
    """The work, given up after so many seconds."""

    async def timed(call: Call) -> T:
        try:
            async with asyncio.timeout(seconds) as limit:
                return await work(call)
        except TimeoutError:
            if not limit.expired():
                raise
            raise _too_late("the deadline passed: repeat the call with the same request_id") from None

    return timed


def _too_late(message: str) -> Refused:
    return Refused(Reason.REASON_DEADLINE_EXCEEDED, message)
