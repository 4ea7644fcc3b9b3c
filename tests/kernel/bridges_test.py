"""What operators order bridges to do: it outlasts a restart, and reaches every replica."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from bridge.ports import Checkpoint
from clients.errors import NotFound
from clients.operations import OperationsClient
from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel.kernel import Kernel
from tests.kernel.conftest import Start
from tests.kernel.drive import execute, new_case, rows, step
from tests.kernel.operator import OFFICER, Door, Standing, door, told


@pytest.fixture
async def front(kernel: Kernel, tmp_path: Path) -> AsyncIterator[Door]:
    async with door(kernel, tmp_path / "pki") as opened:
        await until(lambda: all(bridge.running for bridge in opened.bridges.values()))
        yield opened


@pytest.fixture
async def operator(front: Door) -> AsyncIterator[OperationsClient]:
    async with front.open() as client:
        yield client


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def pause(bridge: "pb.Bridge.ValueType", reason: str = "停机检修") -> pb.PauseBridgeRequest:
    request: pb.PauseBridgeRequest = told(pb.PauseBridgeRequest, bridge=bridge, reason=reason)
    return request


def resume(bridge: "pb.Bridge.ValueType") -> pb.ResumeBridgeRequest:
    request: pb.ResumeBridgeRequest = told(pb.ResumeBridgeRequest, bridge=bridge)
    return request


def relay_of(front: Door) -> Standing:
    return front.bridges[pb.BRIDGE_RELAY]


async def published(kernel: Kernel, count: int, *kept: int) -> None:
    """So many rows of the journal, all published, with checkpoints at these positions."""
    while len(await rows(kernel)) < count:
        await execute(kernel, step(new_case()))
    for position in (*kept, count):
        assert await kernel.advance([Checkpoint(position, "topic", 0, position, "e")], 0, keep=position in kept)


async def test_a_paused_bridge_stands_still_until_it_is_resumed_and_the_others_run(
    front: Door, operator: OperationsClient
) -> None:
    await operator.pause_bridge(pause(pb.BRIDGE_RELAY))
    await until(lambda: not relay_of(front).running)
    assert front.bridges[pb.BRIDGE_CONSUMER].running
    (shown,) = (await operator.get_bridge_status(pb.GetBridgeStatusRequest())).paused
    assert (shown.bridge, shown.officer, shown.reason) == (pb.BRIDGE_RELAY, OFFICER, "停机检修")
    await operator.resume_bridge(resume(pb.BRIDGE_RELAY))
    await until(lambda: relay_of(front).running)
    assert not (await operator.get_bridge_status(pb.GetBridgeStatusRequest())).paused


async def test_pausing_twice_keeps_the_first_reason_and_resuming_twice_does_nothing(
    front: Door, operator: OperationsClient
) -> None:
    await operator.pause_bridge(pause(pb.BRIDGE_RELAY, "first"))
    await operator.pause_bridge(pause(pb.BRIDGE_RELAY, "second"))
    (shown,) = (await operator.get_bridge_status(pb.GetBridgeStatusRequest())).paused
    assert shown.reason == "first"
    await until(lambda: not relay_of(front).running)
    for _ in range(2):
        await operator.resume_bridge(resume(pb.BRIDGE_RELAY))
    await until(lambda: relay_of(front).running)
    assert relay_of(front).starts == 2


async def test_a_pause_outlasts_a_restart_and_reaches_other_replicas(start: Start, tmp_path: Path) -> None:
    async with (
        start() as one,
        start() as two,
        door(one, tmp_path / "one") as first,
        door(two, tmp_path / "two") as second,
    ):
        async with first.open() as operator:
            await operator.pause_bridge(pause(pb.BRIDGE_CONSUMER))
        await until(lambda: not second.bridges[pb.BRIDGE_CONSUMER].running)
    async with start() as again, door(again, tmp_path / "again") as front, front.open() as operator:
        await until(lambda: relay_of(front).running)
        assert front.bridges[pb.BRIDGE_CONSUMER].starts == 0
        await operator.resume_bridge(resume(pb.BRIDGE_CONSUMER))
        await until(lambda: front.bridges[pb.BRIDGE_CONSUMER].running)


async def test_a_bridge_that_a_subsystem_does_not_have_is_unknown(operator: OperationsClient) -> None:
    with pytest.raises(NotFound) as failure:
        await operator.pause_bridge(pause(pb.BRIDGE_INBOX_SOURCE))
    assert failure.value.reason == "BRIDGE_NOT_FOUND"
    assert failure.value.metadata == {"bridges": "relay, consumer"}


async def test_the_relay_begins_again_at_the_newest_checkpoint_before(
    kernel: Kernel, front: Door, operator: OperationsClient
) -> None:
    await published(kernel, 8, 2, 4, 6)
    answer = await operator.republish_since(told(pb.RepublishSinceRequest, position=5))
    assert (answer.after_position, answer.to_position) == (4, 8)
    await until(lambda: relay_of(front).starts == 2 and relay_of(front).running)
    assert (await kernel.published()).position == 4
    assert [checkpoint.position for checkpoint in await kernel.checkpoints()] == [4, 2]


async def test_the_relay_begins_at_the_beginning_where_no_checkpoint_is_before(
    kernel: Kernel, front: Door, operator: OperationsClient
) -> None:
    await published(kernel, 4, 2)
    answer = await operator.republish_since(told(pb.RepublishSinceRequest, position=2))
    assert (answer.after_position, answer.to_position) == (0, 4)
    await until(lambda: relay_of(front).starts == 2 and relay_of(front).running)
    assert (await kernel.published()).position == 0


async def test_a_time_stands_for_the_first_row_that_the_journal_took_in_since(
    kernel: Kernel, front: Door, operator: OperationsClient
) -> None:
    await published(kernel, 8, *range(1, 8))
    taken_at = [row.taken_at for row in await rows(kernel)]
    since = Timestamp()
    since.FromMicroseconds(taken_at[4])
    answer = await operator.republish_since(told(pb.RepublishSinceRequest, time=since))
    assert answer.after_position == taken_at.index(taken_at[4])
    since.FromMicroseconds(1)
    assert (await operator.republish_since(told(pb.RepublishSinceRequest, time=since))).after_position == 0


async def test_a_paused_relay_begins_again_when_it_is_resumed_where_the_earliest_order_says(
    kernel: Kernel, front: Door, operator: OperationsClient
) -> None:
    await published(kernel, 8, 2, 4, 6)
    await operator.pause_bridge(pause(pb.BRIDGE_RELAY))
    await until(lambda: not relay_of(front).running)
    for position, begins_after in ((5, 4), (3, 2), (7, 2)):
        answer = await operator.republish_since(told(pb.RepublishSinceRequest, position=position))
        assert answer.after_position == begins_after
    assert (await kernel.published()).position == 8
    await operator.resume_bridge(resume(pb.BRIDGE_RELAY))
    await until(lambda: relay_of(front).running)
    assert (await kernel.published()).position == 2
