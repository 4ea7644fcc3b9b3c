"""A caller that survives everything: a request is written down before it is sent, and repeated until it is answered."""

import asyncio
import base64
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle, islice
from random import Random
from typing import Any, TypeVar, cast

from google.protobuf.message import Message
from grpc import StatusCode

from clients.backoff import Backoff
from clients.base import completed
from clients.errors import DeadlineExceeded, Overloaded, RongheError, Unavailable
from clients.identity import Identity
from faults.checker.marks import mark_of
from faults.load.durable import DurableLog

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)

COPIED = 0.1
"""Share of the requests that are sent several times at once."""
ALWAYS = 1.0
WHILE_DAYS_PASS = 40
"""So often a request is made anew that is refused for its time, where clocks have been advanced: each in its turn."""
UNEXPECTED = (StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.CANCELLED)


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

    async def perform(self, party: Identity, call: Callable[[Req], Awaitable[Resp]], request: Req) -> Resp:
        """The answer, however often it takes; raises RongheError when it is refused for good."""
        for _ in range(WHILE_DAYS_PASS if self.ahead else 0):
            try:
                return await self._perform(party, call, request)
            except RongheError as refused:
                if refused.reason != "OCCURRED_AT_OUT_OF_RANGE":
                    raise
            await asyncio.sleep(0.5)
        return await self._perform(party, call, request)

    async def _perform(self, party: Identity, call: Callable[[Req], Awaitable[Resp]], request: Req) -> Resp:
        request = marked(self._timed(completed(request)))
        key = await self.note(party, request)
        self.recent.append(request)
        answers = [self._answered(key, way, request) for way in islice(self._ways(call), self._copies())]
        first, *others = await asyncio.gather(*answers, return_exceptions=True)
        for other in (first, *others):
            if isinstance(other, BaseException):
                raise other
        return cast("Resp", first)

    def _timed(self, request: Req) -> Req:
        """It happens now, by the clock of the mesh."""
        found: Any = request
        found.occurred_at.FromDatetime(found.occurred_at.ToDatetime() + self.ahead)
        return request

    async def note(self, party: Identity, request: Message) -> Mapping[str, str]:
        """Write down that it is going to be sent; gives what its answers are written down under."""
        key = {"caller": str(party), "request_id": request.request_id}  # type: ignore[attr-defined]
        name = type(request).__name__
        await self.log.write({"kind": "sent", **key, "command": name, "body": _text(request.SerializeToString())})
        return key

    def _copies(self) -> int:
        """Mostly one; sometimes several at once."""
        return self.chance.randint(2, 5) if self.chance.random() < self.copied else 1

    def _ways(self, call: Callable[[Req], Awaitable[Resp]]) -> Iterator[Callable[[Req], Awaitable[Resp]]]:
        """The call by each connection in turn, without an end."""
        client, name = getattr(call, "__self__", None), getattr(call, "__name__", "")
        return cycle([call, *(getattr(twin, name) for twin in self.twins.get(id(client), ()))])

    async def _answered(self, key: Mapping[str, str], call: Callable[[Req], Awaitable[Resp]], request: Req) -> Resp:
        started = time.monotonic()
        try:
            answer = await self.repeated(call, request)
        except RongheError as error:
            await self.log.write({"kind": "refused", **key, "reason": error.reason})
            raise
        self.answered += 1
        self.latencies.append(time.monotonic() - started)
        if key["caller"].startswith("terminal/"):
            self.at_intake.append(self.latencies[-1])
        answer_type = answer.DESCRIPTOR.full_name
        await self.log.write(
            {"kind": "answered", **key, "answer_type": answer_type, "answer": _text(answer.SerializeToString())}
        )
        return answer

    async def repeated(self, call: Callable[[Req], Awaitable[Resp]], request: Req) -> Resp:
        """The answer of a call that is repeated while there is none."""
        backoff = Backoff(0.2, 2.0)
        while True:
            try:
                return await call(request)
            except RongheError as error:
                if not self._is_worth_a_repeat(error):
                    raise
                self.repeats += 1
                self.failures[f"{error.code.name} {error.reason}"] += 1
                await backoff.wait(error.retry_after)

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
