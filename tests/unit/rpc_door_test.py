"""Calls that come faster than they can be looked at: they are refused in time, with a word on when to come back."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused
from servers.rpc.door import Door
from servers.rpc.requests import Requests

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
