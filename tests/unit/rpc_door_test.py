"""Calls that come faster than they can be looked at: they are refused in time, with a word on when to come back."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from clients.channel import SERVER_NAME
from clients.errors import Overloaded, error_of
from ronghe.catalog.v1.catalog_service_pb2 import GetServiceItemRequest, GetServiceItemResponse
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused
from servers.rpc.call import Call
from servers.rpc.door import Door
from servers.rpc.requests import Requests
from servers.rpc.server import serving
from tests.unit.rpc_support import ORGAN, SERVER, Authority, SpanList, ToyCatalog

ITEM = "/ronghe.catalog.v1.CatalogService/GetServiceItem"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servers.rpc.door.LONGEST_WAIT_SECONDS", 0.1)
    monkeypatch.setattr("servers.rpc.door.KNOCK_SECONDS", 0.01)


@pytest.fixture
async def door(impatient: None) -> AsyncIterator[Door]:
    """Of a server whose own call is not answered."""
    found = Door()
    watching = asyncio.create_task(found.watch(asyncio.Event().wait))
    yield found
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_calls_are_refused_while_the_servers_own_call_waits(door: Door) -> None:
    door.enter()
    await asyncio.sleep(0.15)
    with pytest.raises(Refused) as refused:
        door.enter()
    assert refused.value.reason == Reason.REASON_OVERLOADED


async def test_a_call_of_its_own_that_fails_says_nothing(impatient: None) -> None:
    door = Door()

    async def fails() -> None:
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())

    watching = asyncio.create_task(door.watch(fails))
    await asyncio.sleep(0.15)
    door.enter()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_stream_is_read_on_when_it_is_no_longer_crowded(impatient: None) -> None:
    door, answer = Door(), asyncio.Event()
    watching = asyncio.create_task(door.watch(answer.wait))

    async def bodies() -> AsyncIterator[bytes]:
        yield b"1"

    await asyncio.sleep(0.15)
    reading = asyncio.create_task(_first(Requests(bodies(), int, door.quiet)))
    await asyncio.sleep(0.05)
    assert not reading.done()
    answer.set()
    assert await reading == 1
    door.enter()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def _first(requests: Requests[int]) -> int:
    return await anext(requests)


class Laborious(ToyCatalog):
    """Each call takes the server's time, and none else's."""

    async def GetServiceItem(self, request: GetServiceItemRequest, call: Call) -> GetServiceItemResponse:  # noqa: N802
        end = time.thread_time() + 0.003
        while time.thread_time() < end:
            pass
        return await super().GetServiceItem(request, call)


async def test_a_flood_of_calls_is_refused_in_time_and_the_server_is_itself_again_after_it(
    impatient: None, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    for identity in (SERVER, ORGAN):
        authority.issue(identity)
    async with serving([Laborious()], "127.0.0.1:0", authority.credentials(SERVER), SpanList()) as server:
        own = authority.credentials(ORGAN)
        tls = grpc.ssl_channel_credentials(own.ca, own.key, own.certificate)
        options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.enable_retries", 0)]
        async with grpc.aio.secure_channel(f"127.0.0.1:{server.port}", tls, options=options) as channel:
            method: Any = channel.unary_unary(ITEM)
            body = GetServiceItemRequest(code="IT-001").SerializeToString()
            ends = Counter([end async for end in _ends([method(body, timeout=30) for _ in range(1500)])])
            assert set(ends) == {"OK", "refused"}
            await asyncio.sleep(0.2)
            await method(body, timeout=30)


async def _ends(calls: list[Any]) -> AsyncIterator[str]:
    for call in calls:
        try:
            await call
        except grpc.aio.AioRpcError as failure:
            error = error_of(failure)
            assert isinstance(error, Overloaded), error
            assert error.retry_after
            yield "refused"
        else:
            yield "OK"
