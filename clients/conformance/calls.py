"""Unary calls of the program under test: watched, and some of them disturbed."""

import asyncio
import time
from collections.abc import Callable

import grpc
from google.protobuf.descriptor import MethodDescriptor
from grpc import StatusCode

from clients.conformance.contract import call_of
from clients.conformance.scenes import RETRY_AFTER, SLOW, Scene, Script
from clients.conformance.seen import Call, Seen
from clients.conformance.wire import OVERLOADED, Context, answer_of, fail, lose, refuse_for_load, says


class Calls:
    """Passes a call on to the real server, and notes what was asked and answered."""

    def __init__(self, script: Script, seen: Seen, kill: Callable[[], None]) -> None:
        self._script = script
        self._seen = seen
        self._kill = kill

    async def serve(
        self, channel: grpc.aio.Channel, path: str, method: MethodDescriptor, body: bytes, context: Context
    ) -> bytes:
        """The answer to one call."""
        call = call_of(method, body, context.time_remaining())
        self._seen.calls.append(call)
        try:
            return await self._answer(call, channel, path, body, context)
        finally:
            call.done_at = time.monotonic()

    async def _answer(self, call: Call, channel: grpc.aio.Channel, path: str, body: bytes, context: Context) -> bytes:
        if call.request_id and self._script.do(call.subject, Scene.OVERLOADED):
            note_overload(call)
            await refuse_for_load(context)
        try:
            answer = await answer_of(channel, path, body, context)
        except grpc.aio.AioRpcError as failure:
            call.code, call.reason, call.message, call.retry_after = says(failure)
            await fail(context, failure)
        call.took_effect = bool(call.request_id)
        if call.took_effect:
            await self._disturb(call, context)
        call.code = StatusCode.OK.name
        return answer

    async def _disturb(self, call: Call, context: Context) -> None:
        """What comes between the effect of a command and its answer."""
        if self._script.do(call.subject, Scene.SLOW):
            await asyncio.sleep(SLOW)
        if self._script.do(call.subject, Scene.KILLED_ACTING):
            self._kill()
            await lose(context)
        if self._script.do(call.subject, Scene.ANSWER_LOST):
            call.code = StatusCode.UNAVAILABLE.name
            await lose(context)


def note_overload(call: Call) -> None:
    """The call was refused for load."""
    call.code, call.reason, call.retry_after = StatusCode.RESOURCE_EXHAUSTED.name, OVERLOADED, RETRY_AFTER
