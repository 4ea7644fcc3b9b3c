"""The bulk stream of commands of the program under test."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import grpc
from grpc import StatusCode

from clients.conformance.calls import note_overload
from clients.conformance.contract import command_of
from clients.conformance.scenes import SLOW, Scene, Script
from clients.conformance.seen import Call, Seen
from clients.conformance.wire import Context, fail, lost, overloaded, stream_to
from clients.errors import error_of_status
from clients.stream import ENDED
from ronghe.department.v1 import department_service_pb2 as pb

Result = pb.ExecuteCommandsResponse.Result


class Bulk:
    """One ExecuteCommands call: its commands are watched and disturbed one by one, as unary ones are."""

    def __init__(self, script: Script, seen: Seen, kill: Callable[[], None], context: Context) -> None:
        self._script = script
        self._seen = seen
        self._kill = kill
        self._context = context
        self._waiting: dict[str, Call] = {}
        self._writing = asyncio.Lock()

    async def serve(self, channel: grpc.aio.Channel, path: str, requests: AsyncIterator[bytes]) -> None:
        """From the first command to the last answer."""
        upstream = stream_to(channel, path, self._context)
        take = asyncio.ensure_future(self._take(requests, upstream))
        try:
            async for raw in upstream:
                for result in pb.ExecuteCommandsResponse.FromString(raw).results:
                    await self._answer(result)
        except grpc.aio.AioRpcError as failure:
            await fail(self._context, failure)
        finally:
            take.cancel()
            upstream.cancel()
            for call in self._waiting.values():
                call.done_at = time.monotonic()

    async def _take(self, requests: AsyncIterator[bytes], upstream: "grpc.aio.StreamStreamCall[bytes, bytes]") -> None:
        with suppress(*ENDED):
            async for raw in requests:
                request = pb.ExecuteCommandsRequest.FromString(raw)
                passed = [command for command in request.commands if await self._passes(command)]
                if passed:
                    await upstream.write(pb.ExecuteCommandsRequest(commands=passed).SerializeToString())
            await upstream.done_writing()

    async def _passes(self, command: pb.ExecuteCommandsRequest.Command) -> bool:
        """Whether the command goes on; what does not is answered here."""
        call = command_of(command)
        self._seen.calls.append(call)
        if self._script.do(call.subject, Scene.OVERLOADED):
            note_overload(call)
            call.done_at = time.monotonic()
            await self._write(Result(request_id=call.request_id, failed=overloaded()))
            return False
        self._waiting[call.request_id] = call
        return True

    async def _answer(self, result: Result) -> None:
        call = self._waiting.pop(result.request_id, None)
        if call is not None:
            result = await self._note(call, result)
            call.done_at = time.monotonic()
        await self._write(result)

    async def _note(self, call: Call, result: Result) -> Result:
        if result.HasField("failed"):
            error = error_of_status(result.failed)
            call.code, call.reason, call.message = error.code.name, error.reason, error.message
            call.retry_after = error.retry_after
            return result
        call.took_effect = True
        if self._script.do(call.subject, Scene.SLOW):
            await asyncio.sleep(SLOW)
        if self._script.do(call.subject, Scene.KILLED_ACTING):
            self._kill()
            return result
        if self._script.do(call.subject, Scene.ANSWER_LOST):
            call.code = StatusCode.UNAVAILABLE.name
            return Result(request_id=call.request_id, failed=lost())
        call.code = StatusCode.OK.name
        return result

    async def _write(self, result: Result) -> None:
        async with self._writing:
            await self._context.write(pb.ExecuteCommandsResponse(results=[result]).SerializeToString())
