"""What a receiver acknowledged in an earlier epoch of its own record is void, and nobody waits for that long."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, event

from bridge.ports import StoreUnavailable
from servers.kernel import inbox
from servers.kernel.inbox import Acknowledgement
from servers.kernel.kernel import Kernel
from servers.kernel.stream import Refused
from tests.kernel.conftest import Start
from tests.kernel.drive import execute, new_case, one_batch, step


async def waiting_for_all(kernel: Kernel) -> list[int]:
    items = await kernel.read(lambda connection: list(inbox.waiting(connection, "organ/all", 0, 100)))
    return [item.sequence for item in items]


async def test_what_an_earlier_epoch_acknowledges_in_the_same_transaction_is_void_too(kernel: Kernel) -> None:
    await execute(kernel, step(new_case()))
    await kernel.open_session("organ/all", "one", epoch=1)
    async with one_batch(kernel):
        acknowledged = asyncio.create_task(kernel.acknowledge(Acknowledgement("organ/all", "one", [1], [])))
        await asyncio.sleep(0)
        opened = asyncio.create_task(kernel.open_session("organ/all", "two", epoch=2))
    await asyncio.gather(acknowledged, opened)
    assert await waiting_for_all(kernel) == [1]


async def acknowledged_by_one(kernel: Kernel, count: int) -> None:
    """So many items, in epoch 1."""
    for _ in range(count):
        await execute(kernel, step(new_case()))
    await kernel.open_session("organ/all", "one", epoch=1)
    await kernel.acknowledge(Acknowledgement("organ/all", "one", range(1, count + 1), []))


async def test_acknowledgements_are_made_void_in_parts_between_which_others_write(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was acknowledged in years would else keep every writer waiting, or be too much for the database."""
    monkeypatch.setattr("servers.kernel.voiding.MOST_ITEMS", 2, raising=False)
    async with start() as kernel:
        await acknowledged_by_one(kernel, 5)
        changed: list[int] = []

        def note(_connection: object, cursor: Any, statement: str, *_: object) -> None:
            if statement.startswith("UPDATE inbox"):
                changed.append(cursor.rowcount)

        event.listen(kernel.database.writer, "after_cursor_execute", note)
        before = kernel.writer.commits
        await kernel.open_session("organ/all", "two", epoch=2)
        assert changed == [2, 2, 1]
        assert kernel.writer.commits == before + 4
        assert await waiting_for_all(kernel) == [1, 2, 3, 4, 5]


async def test_acknowledgements_that_were_not_made_void_to_the_end_are_so_by_the_next_session(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servers.kernel.voiding.MOST_ITEMS", 2)
    await acknowledged_by_one(kernel, 5)
    made_void = inbox.void_acknowledgements

    def fails_at_the_second(connection: Connection, receiver: str, first: int, following: int) -> None:
        if first > 1:
            raise StoreUnavailable("the database does not answer")
        made_void(connection, receiver, first, following)

    with monkeypatch.context() as broken:
        broken.setattr("servers.kernel.voiding.void_acknowledgements", fails_at_the_second)
        with pytest.raises(StoreUnavailable):
            await kernel.open_session("organ/all", "two", epoch=2)
    assert await waiting_for_all(kernel) == [1, 2]
    await kernel.open_session("organ/all", "three", epoch=2)
    assert await waiting_for_all(kernel) == [1, 2, 3, 4, 5]
    await kernel.acknowledge(Acknowledgement("organ/all", "three", [1, 2, 3], []))
    await kernel.open_session("organ/all", "four", epoch=2)
    assert await waiting_for_all(kernel) == [4, 5]


async def test_a_session_that_was_taken_over_makes_nothing_void(kernel: Kernel) -> None:
    """What the newer one acknowledges would be lost with what the older one lets wait again."""
    await acknowledged_by_one(kernel, 3)
    async with one_batch(kernel):
        older = asyncio.create_task(kernel.open_session("organ/all", "two", epoch=2))
        await asyncio.sleep(0)
        newer = asyncio.create_task(kernel.open_session("organ/all", "three", epoch=1))
    await newer
    with pytest.raises(Refused, match="newer session"):
        await older
    assert await waiting_for_all(kernel) == []
