"""What happens to replicas: they go and come, one after another or at random, stand still, or do one work twice."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from contextlib import suppress

from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.mesh import SUBSYSTEMS
from faults.meshes.replicas import ReplicatedMesh

READY_SECONDS = 120.0
LEASE_SECONDS = 20.0
NOBODY = 0


async def rolling_restart(stage: Stage) -> None:
    """Every replica of every subsystem once, the next when the one before serves again; no client call may fail."""
    caller, mesh = stage.load.cast.caller, _mesh(stage)
    failures, answered = Counter(caller.failures), caller.answered
    for name in SUBSYSTEMS:
        for address, pid in mesh.replicas(name).items():
            _signal(pid, signal.SIGTERM)
            async with asyncio.timeout(READY_SECONDS):
                await mesh.serving(name, address, but=pid)
    stage.figures["calls during rolling restarts"] = (
        stage.figures.get("calls during rolling restarts", 0) + caller.answered - answered
    )
    failed = caller.failures - failures
    if failed:
        raise NotInjected(f"{failed.total()} client calls failed, of {caller.answered - answered}: {dict(failed)}")


def coming_and_going(seconds: float, pause: float) -> Injection:
    """A replica is removed every so often, gently or not; the supervisor adds it again. One of each goes on serving."""

    async def inject(stage: Stage) -> None:
        mesh, end, removed = _mesh(stage), time.monotonic() + seconds, 0
        while time.monotonic() < end:
            name = stage.chance.choice(SUBSYSTEMS)
            replicas = mesh.replicas(name)
            if len(replicas) > 1:
                number = stage.chance.choice((signal.SIGTERM, signal.SIGTERM, signal.SIGKILL))
                removed += _signal(stage.chance.choice(list(replicas.values())), number)
            await asyncio.sleep(pause)
        stage.figures["replicas removed and added"] = stage.figures.get("replicas removed and added", 0) + removed
        await _complete(mesh)

    return inject


def killed_replica(name: str) -> Injection:
    """SIGKILL of one replica: the others take over what it did."""

    async def inject(stage: Stage) -> None:
        mesh = _mesh(stage)
        address, pid = stage.chance.choice(list(mesh.replicas(name).items()))
        _signal(pid, signal.SIGKILL)
        async with asyncio.timeout(READY_SECONDS):
            await mesh.serving(name, address, but=pid)

    return inject


def paused_replica(name: str, seconds: float) -> Injection:
    """One replica stands still, with all that it holds: connections, partitions, perhaps the lock of the journal."""

    async def inject(stage: Stage) -> None:
        pid = stage.chance.choice(list(_mesh(stage).replicas(name).values()))
        _signal(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            _signal(pid, signal.SIGCONT)

    return inject


def two_relays(name: str) -> Injection:
    """The one that publishes stands still until another one does, and goes on beside it."""

    async def inject(stage: Stage) -> None:
        mesh = _mesh(stage)
        await until(lambda: _holder(mesh, name) != NOBODY, LEASE_SECONDS, f"a relay of {name}")
        first = _holder(mesh, name)
        _signal(first, signal.SIGSTOP)
        try:
            await until(lambda: _holder(mesh, name) not in (NOBODY, first), LEASE_SECONDS, f"another relay of {name}")
        finally:
            _signal(first, signal.SIGCONT)

    return inject


def _holder(mesh: ReplicatedMesh, name: str) -> int:
    """The pid of the process that publishes."""
    with mesh.postgresql.connect(f"ronghe_{name}") as connection:
        row = connection.execute("SELECT value FROM cursor WHERE name = 'lease/relay'").fetchone()
    holder = str(json.loads(str(row[0]))["holder"]) if row else ""
    return int(holder.split("/")[1]) if holder else NOBODY


def _mesh(stage: Stage) -> ReplicatedMesh:
    assert isinstance(stage.mesh, ReplicatedMesh)  # noqa: S101 - of the scene
    return stage.mesh


def _signal(pid: int, number: signal.Signals) -> bool:
    """Whether there was such a process."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


async def _complete(mesh: ReplicatedMesh) -> None:
    """Return when every replica serves again."""
    async with asyncio.timeout(READY_SECONDS):
        for name in SUBSYSTEMS:
            for address in mesh.addresses[name].split(","):
                await mesh.serving(name, address)
