"""Calls that end before their time, and calls without or with too much in them."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from clients.errors import RongheError, error_of
from ronghe.intake.v1 import intake_service_pb2 as intake
from tests import builders
from tests.e2e.collaborating import now
from tests.e2e.door import SUBMIT, Door, has_one_effect, heads, knocking, serves
from tests.e2e.drive import TERMINAL, Mesh


async def test_a_deadline_that_is_too_short_has_one_effect_or_none(mesh: Mesh) -> None:
    request = builders.submission(now())
    async with knocking(mesh, "intake", TERMINAL) as door:
        await door.channel.channel_ready()
        with pytest.raises(RongheError) as failed:
            await door.unary(SUBMIT, request.SerializeToString(), timeout=0.0005)
        assert failed.value.code is StatusCode.DEADLINE_EXCEEDED
        await has_one_effect(mesh, door, request)


async def test_calls_that_are_cancelled_halfway_have_one_effect_or_none(mesh: Mesh) -> None:
    requests = [builders.submission(now()) for _ in range(40)]
    async with knocking(mesh, "intake", TERMINAL) as door:
        calls = [_call(door, request) for request in requests]
        for number, call in enumerate(calls):
            await asyncio.sleep(0 if number % 4 else 0.002)
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        for request in requests:
            await has_one_effect(mesh, door, request)


async def test_a_channel_that_is_dropped_in_the_midst_of_calls_leaves_nothing_half_done(mesh: Mesh) -> None:
    requests = [builders.submission(now()) for _ in range(40)]
    async with knocking(mesh, "intake", TERMINAL) as door:
        calls = [_call(door, request) for request in requests]
        await asyncio.wait(calls, timeout=0.02)
        await door.channel.close()
        await asyncio.gather(*calls, return_exceptions=True)
    async with knocking(mesh, "intake", TERMINAL) as door:
        for request in requests:
            await has_one_effect(mesh, door, request)


async def test_a_call_without_a_message_does_not_keep_its_server_busy(mesh: Mesh) -> None:
    """grpc drops it unanswered: it ends with its own deadline."""
    async with knocking(mesh, "intake", TERMINAL) as door:
        call: Any = door.channel.stream_stream(f"/{SUBMIT}")(timeout=1)
        await call.done_writing()
        assert await call.code() is not StatusCode.OK
        await serves(mesh)


def _call(door: Door, request: intake.SubmitApplicationRequest) -> "asyncio.Task[bytes]":
    return asyncio.ensure_future(door.unary(SUBMIT, request.SerializeToString()))


async def test_a_small_body_that_unpacks_to_a_large_one_is_refused(mesh: Mesh) -> None:
    before = heads(mesh)
    async with knocking(mesh, "intake", TERMINAL) as door:
        call: Any = door.channel.unary_unary(f"/{SUBMIT}")
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call(b"\0" * 50_000_000, timeout=20, compression=grpc.Compression.Gzip)
        assert error_of(failed.value).code is StatusCode.RESOURCE_EXHAUSTED
    assert heads(mesh) == before
    await serves(mesh)
