"""Tasks that are told to end, and do not at once."""

import asyncio

import pytest

from servers.rpc.cancelling import cancel


async def deaf(times: int) -> None:
    """Goes on so many times though it is cancelled, as a loop does that is told of a failed call instead."""
    for _ in range(times):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    await asyncio.Event().wait()


async def fails() -> None:
    raise ValueError("by itself")


async def test_they_are_told_until_they_have_ended() -> None:
    tasks = [asyncio.create_task(deaf(0)), asyncio.create_task(deaf(3)), asyncio.create_task(fails())]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await cancel(*tasks, again=0.05)
    assert [task.cancelled() for task in tasks] == [True, True, False]


async def test_whoever_is_cancelled_meanwhile_waits_for_them_all_the_same() -> None:
    task = asyncio.create_task(deaf(3))
    await asyncio.sleep(0)
    cancelling = asyncio.create_task(cancel(task, again=0.05))
    await asyncio.sleep(0.01)
    cancelling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(cancelling, 10)
    assert task.cancelled()
