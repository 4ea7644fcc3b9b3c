"""A caller that survives everything: a request is written down before it is sent, and repeated until it is answered."""

import asyncio
import base64
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
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
UNEXPECTED = (StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.CANCELLED)


@dataclass
class Caller:
    """Performs requests for any party."""

    log: DurableLog
    chance: Random
    unexpected: Counter[str] = field(default_factory=Counter)
    """Answers that are bugs, whatever was broken: INTERNAL, UNKNOWN."""
    repeats: int = 0
    answered: int = 0
    recent: deque[Message] = field(default_factory=lambda: deque(maxlen=200))
    """Requests that were sent last."""
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))
    """Seconds from a request to its answer, repeats included."""

    async def perform(self, party: Identity, call: Callable[[Req], Awaitable[Resp]], request: Req) -> Resp:
        """The answer, however often it takes; raises RongheError when it is refused for good."""
        request = marked(completed(request))
        key = {"caller": str(party), "request_id": request.request_id}  # type: ignore[attr-defined]
        name = type(request).__name__
        self.recent.append(request)
        await self.log.write({"kind": "sent", **key, "command": name, "body": _text(request.SerializeToString())})
        answers = [self._answered(key, call, request) for _ in range(self._copies())]
        first, *others = await asyncio.gather(*answers, return_exceptions=True)
        for other in (first, *others):
            if isinstance(other, BaseException):
                raise other
        return cast("Resp", first)

    def _copies(self) -> int:
        """Mostly one; sometimes several at once."""
        return self.chance.randint(2, 5) if self.chance.random() < COPIED else 1

    async def _answered(self, key: Mapping[str, str], call: Callable[[Req], Awaitable[Resp]], request: Req) -> Resp:
        started = time.monotonic()
        try:
            answer = await self.repeated(call, request)
        except RongheError as error:
            await self.log.write({"kind": "refused", **key, "reason": error.reason})
            raise
        self.answered += 1
        self.latencies.append(time.monotonic() - started)
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
