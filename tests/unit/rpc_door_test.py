"""Calls that come faster than they can be looked at: they are refused in time, with a word on when to come back."""

import asyncio
from collections.abc import AsyncIterator
from itertools import chain, repeat

import grpc
import pytest

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
    assert not door.is_crowded
    await asyncio.sleep(0.15)
    assert door.is_crowded


async def test_it_stays_crowded_until_its_own_call_is_answered_soon(impatient: None) -> None:
    """Those behind a call that has waited for long wait as long: there may be thousands."""
    slow, soon = asyncio.Event(), asyncio.Event()
    answers = chain([slow, soon], repeat(soon))

    async def knock() -> None:
        await next(answers).wait()

    door = Door()
    watching = asyncio.create_task(door.watch(knock))
    await asyncio.sleep(0.15)
    slow.set()
    await asyncio.sleep(0.01)
    assert door.is_crowded
    soon.set()
    await asyncio.sleep(0.01)
    assert not door.is_crowded
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_who_is_refused_is_asked_to_come_back_the_later_the_longer_it_is_crowded(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servers.rpc.door.LONGEST_RETURN_SECONDS", 0.3)
    await asyncio.sleep(0.15)
    first = door.return_after
    await asyncio.sleep(0.3)
    assert 0.1 < first < door.return_after == 0.3


async def test_after_a_calm_time_it_is_soon_again(impatient: None) -> None:
    may_answer, answered = asyncio.Event(), asyncio.Event()

    async def knock() -> None:
        await may_answer.wait()
        answered.set()

    door = Door()
    watching = asyncio.create_task(door.watch(knock))
    await asyncio.sleep(0.3)
    crowded = door.return_after
    may_answer.set()
    await asyncio.sleep(0.1)
    assert answered.is_set()
    assert door.return_after < crowded / 2
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_call_of_its_own_that_fails_says_nothing(impatient: None) -> None:
    door = Door()

    async def fails() -> None:
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())

    watching = asyncio.create_task(door.watch(fails))
    await asyncio.sleep(0.15)
    assert not door.is_crowded
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
    assert not door.is_crowded
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_when_nobody_asks_any_more_it_is_crowded_no_longer(impatient: None) -> None:
    """As in a server that closes: who comes then is told so, and what streams sent is read."""
    door, answer = Door(), asyncio.Event()
    watching = asyncio.create_task(door.watch(answer.wait))
    await asyncio.sleep(0.15)
    reading = asyncio.create_task(door.quiet())
    await asyncio.sleep(0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert not door.is_crowded
    await asyncio.wait_for(reading, 1)


async def test_nor_is_it_when_its_own_call_cannot_be_made(impatient: None) -> None:
    door = Door()

    async def breaks() -> None:
        await asyncio.sleep(0.15)
        raise ValueError("no such certificate")

    with pytest.raises(ValueError, match="no such certificate"):
        await door.watch(breaks)
    assert not door.is_crowded


async def test_nor_when_the_end_comes_between_two_calls(impatient: None) -> None:
    answers = chain([asyncio.sleep(0.15)], repeat(None))
    door = Door()

    async def knock() -> None:
        slow = next(answers)
        if slow is not None:
            await slow
            asyncio.get_running_loop().call_soon(watching.cancel)

    watching = asyncio.create_task(door.watch(knock))
    await asyncio.gather(watching, return_exceptions=True)
    assert not door.is_crowded


async def test_who_knocks_stops_though_an_error_comes_in_place_of_the_cancellation() -> None:
    """As grpc.aio has it where a call has just ended when whoever waits for it is cancelled."""
    door, knocked = Door(), asyncio.Event()

    async def knock() -> None:
        knocked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise grpc.aio.AioRpcError(grpc.StatusCode.OK, grpc.aio.Metadata(), grpc.aio.Metadata()) from None

    watching = asyncio.create_task(door.watch(knock))
    await knocked.wait()
    door.close()
    watching.cancel()
    done, _ = await asyncio.wait([watching], timeout=10)
    assert done


async def _first(requests: Requests[int]) -> int:
    return await anext(requests)
