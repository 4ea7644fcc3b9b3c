"""Days pass in no time: an operator advances the clocks of a simulation."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from clients.base import completed
from clients.errors import DeadlineExceeded, Overloaded, Unavailable
from clients.identity import Identity
from clients.subsystem import SubsystemClient
from faults.injections.stage import Stage, until
from faults.mesh import SUBSYSTEMS, Mesh
from ronghe.operations.v1 import operations_service_pb2 as pb
from ronghe.party.v1.party_pb2 import Officer

OPERATOR, OFFICER = Identity("operator", "local"), Officer(id="F0", name="校时员")
BOOT_SECONDS = 60.0


async def days_pass(stage: Stage, name: str, *, before: float = 0.0) -> None:
    """An operator advances all clocks to so many seconds before the first sign-in falls due in a subsystem."""
    _, due_at = await first_sign_in(name, stage.mesh)
    await clocks_advance(stage, name, due_at - before)


async def clocks_advance(stage: Stage, name: str, until_then: float) -> None:
    """An operator advances all clocks until it is so late in a subsystem, seconds since 1970."""
    caller, seconds = (
        stage.load.cast.caller,
        until_then - (await status_of(stage.mesh, name)).now.ToMicroseconds() / 1e6,
    )
    if seconds > 0:
        with caller.clocks_change():
            for each in SUBSYSTEMS:
                await _advance(stage, each, seconds)
            # Now: what happened before is told late, and may be; what happens after it has not happened yet.
            caller.ahead += timedelta(seconds=seconds)


async def _advance(stage: Stage, name: str, seconds: float) -> None:
    request = completed(pb.AdvanceClockRequest(actor=OFFICER, reason="数日之后"))
    request.by.FromMicroseconds(int(seconds * 1e6))
    async with operator(stage.mesh, name) as client:
        await stage.load.cast.caller.repeated(client.operations.advance_clock, request)


async def first_sign_in(name: str, mesh: Mesh) -> tuple[str, float]:
    """The stream whose sign-in falls due first, and when, seconds since 1970; somebody always signs late."""
    statement = "SELECT stream, due_at FROM timer WHERE name = 'sign-in' ORDER BY due_at LIMIT 1"
    found: list[tuple[str, float]] = []

    def is_there() -> bool:
        with closing(opened(mesh.database(name))) as connection:
            found[:] = [(stream, due_at / 1e6) for stream, due_at in connection.execute(statement)]
        return bool(found)

    await until(is_there, BOOT_SECONDS, "no sign-in waits")
    return found[0]


async def status_of(mesh: Mesh, name: str) -> pb.GetBridgeStatusResponse:
    """How a subsystem is doing, once it answers. TimeoutError."""
    async with asyncio.timeout(BOOT_SECONDS), operator(mesh, name) as client:
        while True:
            try:
                return await client.operations.get_bridge_status(pb.GetBridgeStatusRequest())
            except (Unavailable, Overloaded, DeadlineExceeded):
                continue


def operator(mesh: Mesh, name: str) -> SubsystemClient:
    """Whoever keeps the mesh running."""
    return SubsystemClient(mesh.addresses[name], mesh.data / "pki", OPERATOR)


def opened(database: Path) -> sqlite3.Connection:
    """A subsystem's database."""
    return sqlite3.connect(database, timeout=10)
