import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from clients.credentials import CredentialsError
from clients.demo.desks import find_desks
from clients.demo.plan import Desk
from clients.errors import RongheError
from ronghe.case.v1 import case_pb2
from ronghe.operations.v1.operations_service_pb2 import GetBridgeStatusRequest
from servers.mesh.ports import Ports
from tests.e2e.drive import (
    OPERATOR,
    PATIENCE,
    SUBSYSTEMS,
    Counter,
    Mesh,
    addresses,
    assert_journals_are_whole,
    case_at,
    counter,
    starting_mesh,
    until,
)
from tests.ports import free_base

OUTAGE_SECONDS = 20.0
LONGEST_ANSWER = 2.0


async def test_intake_accepts_and_departments_work_while_the_broker_stands_still(
    mesh: Mesh, desks: Sequence[Desk]
) -> None:
    async with counter(mesh, desks[0]) as here:
        delivered = [(await here.submit()).case_id for _ in range(3)]
        for case_id in delivered:
            await here.delivered(case_id)

        mesh.signal("kafka", signal.SIGSTOP)
        try:
            submitted = await _work(here, delivered)
        finally:
            mesh.signal("kafka", signal.SIGCONT)

        for case_id in delivered:
            await here.at_intake(case_id, case_pb2.STATE_CLOSED)
        for case_id in submitted:
            await here.delivered(case_id)
        await here.finish(submitted[-1])

    for case_id in submitted[:-1]:
        assert [mesh.recorded(name, case_id) for name in SUBSYSTEMS] == [["Submitted"]] * 3
    for case_id in (*delivered, submitted[-1]):
        for name in SUBSYSTEMS:
            assert sorted(mesh.recorded(name, case_id)) == ["Accepted", "Closed", "Decided", "Submitted"]
    await assert_journals_are_whole(mesh)


async def _work(here: Counter, delivered: Sequence[str]) -> list[str]:
    """Submit all the time; the organ acts at the beginning, in the middle and at the end."""
    submitted, started, act_at = [], time.monotonic(), 0.0
    waiting = list(delivered)
    while (elapsed := time.monotonic() - started) < OUTAGE_SECONDS:
        async with asyncio.timeout(LONGEST_ANSWER):
            submitted.append((await here.submit()).case_id)
        if elapsed >= act_at:
            case_id, act_at = waiting.pop(0), act_at + OUTAGE_SECONDS / len(delivered)
            async with asyncio.timeout(3 * LONGEST_ANSWER):
                await here.accept(case_id)
                await here.deny(case_id)
        await asyncio.sleep(0.2)
    assert not waiting
    return submitted


@pytest.mark.timeout(300)  # the mesh is started twice
async def test_a_mesh_that_starts_serves_before_its_broker_does(tmp_path: Path) -> None:
    data, base = tmp_path / "mesh", free_base()
    ports = Ports.choose(base)
    async with _starting_without_broker(data, base, ports) as mesh:
        async with mesh.intake() as terminal:
            desk = (await find_desks(terminal))[0]
        async with counter(mesh, desk) as here:
            first = (await here.submit()).case_id
            await until(lambda: mesh.recorded("governance", first) == ["Submitted"], "the center has it from intake")
            assert not await here.sees(first)
            _let_broker_go_on(mesh)
            await here.delivered(first)
        # All of it at once, the broker too.
        mesh.process.kill()
        mesh.process.communicate()

    async with _starting_without_broker(data, base, ports) as mesh, counter(mesh, desk) as here:
        second = (await here.submit()).case_id
        await here.accept(first)
        await here.deny(first)
        await until(lambda: mesh.recorded("governance", second) == ["Submitted"], "the center has it from intake")
        assert (await case_at(mesh, "governance", first)).state == case_pb2.STATE_SUBMITTED
        _let_broker_go_on(mesh)
        await here.at_intake(first, case_pb2.STATE_CLOSED)
        await here.finish(second)
        await assert_journals_are_whole(mesh)


@asynccontextmanager
async def _starting_without_broker(data: Path, base: int, ports: Ports) -> AsyncIterator[Mesh]:
    """Every subsystem serves, and the broker stands still from its first moment on."""
    with starting_mesh(data, base) as mesh:
        mesh.addresses = {name: ports.address(name) for name in SUBSYSTEMS}
        await until(lambda: mesh.pid("kafka") != 0, "the broker's process is there")
        mesh.signal("kafka", signal.SIGSTOP)
        for name in SUBSYSTEMS:
            await until(partial(_serves, mesh, name), f"{name} serves", PATIENCE)
        yield mesh


async def _serves(mesh: Mesh, name: str) -> bool:
    try:
        async with mesh.client(name, OPERATOR) as client:
            await client.operations.get_bridge_status(GetBridgeStatusRequest())
    except (CredentialsError, RongheError):
        return False
    return True


def _let_broker_go_on(mesh: Mesh) -> None:
    """Until now it has kept the mesh from calling itself ready; from then on it is."""
    assert not (mesh.data / "run" / "endpoints.json").exists()
    mesh.signal("kafka", signal.SIGCONT)
    addresses(mesh)
