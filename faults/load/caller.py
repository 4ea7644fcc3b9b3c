"""A caller that survives everything: a request is written down before it is sent, and repeated until it is answered."""

import asyncio
import base64
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle, islice
from math import inf
from random import Random
from typing import Any, TypeVar, cast

import structlog
from google.protobuf.message import Message
from grpc import StatusCode

from clients.backoff import Backoff
from clients.base import completed
from clients.errors import DeadlineExceeded, Overloaded, RongheError, Unavailable
from clients.identity import Identity
from faults.checker.marks import mark_of
from faults.load.durable import DurableLog

log = structlog.get_logger()

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)

COPIED = 0.1
"""Share of the requests that are sent several times at once."""
ALWAYS = 1.0
FOR_ITS_TIME = "OCCURRED_AT_OUT_OF_RANGE"
ANEW_SECONDS = 0.5
LOOK_SECONDS = 0.02
REMEMBERED = 10_000
"""Answered requests that can be sent again."""
OPEN_CALLS = 50
"""A party has no more under way by one connection: after an outage thousands of cases go on at once."""
UNEXPECTED = (StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.CANCELLED)


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered."""

    at: float
    """time.monotonic()"""
    party: Identity
    call: Callable[[Any], Awaitable[Any]]
    request: Any

    @property
    def subject(self) -> str:
        """What it is about: requests about the same thing belong together."""
        names = ("task_id", "case_id", "request_id")
        return next(value for name in names if (value := getattr(self.request, name, "")))


@dataclass
class Caller:
    """Performs requests for any party."""

    log: DurableLog
    chance: Random
    unexpected: Counter[str] = field(default_factory=Counter)
    """Answers that are bugs, whatever was broken: INTERNAL, UNKNOWN."""
    copied: float = COPIED
    twins: Mapping[int, Sequence[object]] = field(default_factory=dict)
    """`id()` of a client -> others of the same party, on connections of their own: copies go by them as well."""
    ahead: timedelta = timedelta()
    """How far operators have advanced the clocks of the mesh: callers go by them."""
    refused_for_time: int = 0
    """Requests that were refused for their time though nobody was changing clocks while they were on their way."""
    repeats: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """Why a call was repeated that the client library had given up."""
    answered: int = 0
    recent: deque[Message] = field(default_factory=lambda: deque(maxlen=200))
    """Requests that were sent last."""
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))
    """Seconds from a request to its answer, repeats included."""
    at_intake: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))
    """Those of the terminals' requests among them."""
    done: deque[Answered] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    under_way: int = 0
    """Requests that were sent, and wait for their answer."""
    open_calls: int = 0
    """Attempts that have no answer and no error yet."""
    _rooms: defaultdict[int, asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(OPEN_CALLS))
    )
    """By `id()` of a client."""
    _settled_at: float = -inf
    """time.monotonic() when clocks were last changed; infinity while they are."""
    _may_begin: asyncio.Event = field(default_factory=asyncio.Event)
    _may_call: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._may_begin.set()
        self._may_call.set()

    async def perform(self, party: Identity, call: Callable[[Req], Awaitable[Resp]], request: Req) -> Resp:
        """The answer, however often it takes; raises RongheError when it is refused for good."""
        while True:
            began = time.monotonic()
            try:
                return await self._perform(party, call, request)
            except RongheError as refused:
                if refused.reason != FOR_ITS_TIME:
                    raise
                if began > self._settled_at:
                    self.refused_for_time += 1
                    raise
            await asyncio.sleep(ANEW_SECONDS)

    async def _perform(self, party: Identity, call: Callable[[Req], Awaitable[Resp]], request: Req) -> Resp:
        await self.may_begin()
        self.under_way += 1
        try:
            request = marked(self._timed(completed(request)))
            key = await self.note(party, request)
            self.recent.append(request)
            answers = [self._answered(key, way, request) for way in islice(self._ways(call), self._copies())]
            first, *others = await asyncio.gather(*answers, return_exceptions=True)
            for other in (first, *others):
                if isinstance(other, BaseException):
                    raise other
            self.done.append(Answered(time.monotonic(), party, call, request))
            return cast("Resp", first)
        finally:
            self.under_way -= 1

    async def may_begin(self) -> float:
        """Return when requests may be begun; gives the seconds until then."""
        started = time.monotonic()
        await self._may_begin.wait()
        return time.monotonic() - started

    @contextmanager
    def clocks_change(self) -> Iterator[None]:
        """In this block clocks of the mesh need not agree with the callers'.

        What is refused for its time meanwhile is made anew, as is what was on its way: both lawfully.
        """
        self._settled_at = inf
        try:
            yield
        finally:
            self._settled_at = time.monotonic()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """In this block no request is begun; those that were go on to their answers."""
        self._may_begin.clear()
        try:
            yield
        finally:
            self._may_begin.set()

    @asynccontextmanager
    async def silent(self) -> AsyncIterator[None]:
        """In this block nothing is called but `again`; it begins when there is no open call."""
        self._may_call.clear()
        try:
            while self.open_calls:  # noqa: ASYNC110 - many end at once
                await asyncio.sleep(LOOK_SECONDS)
            yield
        finally:
            self._may_call.set()

    async def again(self, since: float) -> int:
        """Send everything again that was answered since then (time.monotonic()), what belongs together in its order.

        Gives how much that was. What is answered otherwise now, or refused, is for the checker to find.
        """
        answered = [each for each in self.done if each.at >= since]
        lanes: dict[str, list[Answered]] = defaultdict(list)
        for each in answered:
            lanes[each.subject].append(each)
        await asyncio.gather(*(self._lane(lane) for lane in lanes.values()))
        return len(answered)

    async def _lane(self, lane: Sequence[Answered]) -> None:
        for each in lane:
            key = {"caller": str(each.party), "request_id": each.request.request_id}
            with suppress(RongheError):
                await self._answered(key, each.call, each.request, at_once=True)

    def _timed(self, request: Req) -> Req:
        """It happens now, by the clock of the mesh."""
        found: Any = request
        found.occurred_at.FromDatetime(found.occurred_at.ToDatetime() + self.ahead)
        return request

    async def note(self, party: Identity, request: Message, body: bytes | None = None) -> Mapping[str, str]:
        """Write down that it is going to be sent, or this body in its place, which may be wrong.

        Gives what its answers are noted under.
        """
        key = {"caller": str(party), "request_id": request.request_id}  # type: ignore[attr-defined]
        said = {"command": type(request).__name__, "body": _text(request.SerializeToString() if body is None else body)}
        await self.log.write({"kind": "sent", **key, **said, "spoiled": body is not None})
        return key

    async def note_answer(self, key: Mapping[str, str], answer: Message, *, again: bool = False) -> None:
        """Write down that it was acknowledged; `again`: once more, after what was acknowledged may have been lost."""
        answer_type, body = answer.DESCRIPTOR.full_name, answer.SerializeToString()
        said = {"answer_type": answer_type, "answer": _text(body), "again": again}
        await self.log.write({"kind": "answered", **key, **said})

    async def note_refusal(self, key: Mapping[str, str], reason: str) -> None:
        """Write down that it was refused for good."""
        await self.log.write({"kind": "refused", **key, "reason": reason})

    def _copies(self) -> int:
        """Mostly one; sometimes several at once."""
        return self.chance.randint(2, 5) if self.chance.random() < self.copied else 1

    def _ways(self, call: Callable[[Req], Awaitable[Resp]]) -> Iterator[Callable[[Req], Awaitable[Resp]]]:
        """The call by each connection in turn, without an end."""
        client, name = getattr(call, "__self__", None), getattr(call, "__name__", "")
        return cycle([call, *(getattr(twin, name) for twin in self.twins.get(id(client), ()))])

    async def _answered(
        self,
        key: Mapping[str, str],
        call: Callable[[Req], Awaitable[Resp]],
        request: Req,
        *,
        at_once: bool = False,
    ) -> Resp:
        started = time.monotonic()
        try:
            answer = await self.repeated(call, request, at_once=at_once)
        except RongheError as error:
            await self.note_refusal(key, error.reason)
            raise
        self.answered += 1
        self.latencies.append(time.monotonic() - started)
        if key["caller"].startswith("terminal/"):
            self.at_intake.append(self.latencies[-1])
        await self.note_answer(key, answer, again=at_once)
        return answer

    async def repeated(self, call: Callable[[Req], Awaitable[Resp]], request: Req, *, at_once: bool = False) -> Resp:
        """The answer of a call that is repeated while there is none; `at_once`: also where callers are silent."""
        backoff = Backoff(0.2, 2.0)
        while True:
            try:
                return await self._called(call, request, at_once=at_once)
            except RongheError as error:
                if error.code in UNEXPECTED:
                    log.warning("caller.unexpected", command=type(request).__name__, error=str(error))
                if not self._is_worth_a_repeat(error):
                    raise
                self.repeats += 1
                self.failures[f"{error.code.name} {error.reason}"] += 1
                await backoff.wait(error.retry_after)

    async def _called(self, call: Callable[[Req], Awaitable[Resp]], request: Req, *, at_once: bool) -> Resp:
        if at_once:
            return await self._opened(call, request)
        async with self._rooms[id(getattr(call, "__self__", None))]:
            await self._may_call.wait()
            return await self._opened(call, request)

    async def _opened(self, call: Callable[[Req], Awaitable[Resp]], request: Req) -> Resp:
        self.open_calls += 1
        try:
            return await call(request)
        finally:
            self.open_calls -= 1

    def _is_worth_a_repeat(self, error: RongheError) -> bool:
        if error.code in UNEXPECTED:
            self.unexpected[f"{error.code.name} {error.reason}"] += 1
            return True
        return isinstance(error, Unavailable | DeadlineExceeded) or (
            isinstance(error, Overloaded) and error.retry_after is not None
        )


def marked(request: Req) -> Req:
    """With its mark where the fact that it leads to will show it."""
    found: Any = request
    mark = mark_of(found.request_id)
    if found.actor.DESCRIPTOR.name == "Officer":
        found.actor.id = mark
    else:
        found.actor.applicant.method = mark
    return request


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
