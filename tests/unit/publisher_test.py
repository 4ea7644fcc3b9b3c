"""A publisher that is to end while its records are acknowledged."""

import asyncio
from typing import Any

import pytest

from bridge.kafka import Delivered, _Batch


class Acknowledged:
    """A message as the client library gives it back."""

    def partition(self) -> int:
        return 2

    def offset(self) -> int:
        return 7


async def test_a_batch_that_is_acknowledged_has_its_places() -> None:
    batch, message = _Batch(1), Acknowledged()
    acknowledge: Any = batch.taker(0)
    acknowledge(None, message)
    assert await batch.delivered(10.0) == [Delivered(2, 7)]


@pytest.mark.parametrize("ticks", range(8))
async def test_who_is_cancelled_in_the_moment_of_the_acknowledgement_ends(ticks: int) -> None:
    batch = _Batch(1)
    acknowledge: Any = batch.taker(0)

    async def relay() -> None:
        await batch.delivered(10.0)
        await asyncio.Event().wait()  # for more to publish

    at_work = asyncio.create_task(relay())
    for _ in range(5):
        await asyncio.sleep(0)
    acknowledge(None, Acknowledged())
    for _ in range(ticks):
        await asyncio.sleep(0)
    at_work.cancel()
    done, _ = await asyncio.wait({at_work}, timeout=1.0)
    assert done
    assert at_work.cancelled()
