"""What happens to replicas: they go and come, one after another or at random, stand still, or do one work twice."""

import asyncio
import json
import os
import signal
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle, islice
from pathlib import Path

from faults.injections.loss import ronghe
from faults.injections.processes import beside
from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.mesh import SUBSYSTEMS
from faults.meshes.replicas import ReplicatedMesh

READY_SECONDS = 120.0
LEASE_SECONDS = 20.0
RENEWAL_SECONDS = 40.0
"""Clients look at their certificate's file every 5 s; what is open on the connection of before gets 30 s."""
TLS_SECONDS = 10.0
NOBODY = 0
CROWDED = "RESOURCE_EXHAUSTED OVERLOADED"


async def rolling_restart(stage: Stage) -> None:
    """Every replica of every subsystem once, the next when the one before serves again; no client call may fail."""
    mesh = _mesh(stage)
    async with _no_call_fails(stage, "calls during rolling restarts"):
        for name in SUBSYSTEMS:
            for address, pid in mesh.replicas(name).items():
                _signal(pid, signal.SIGTERM)
                async with asyncio.timeout(READY_SECONDS):
                    await mesh.serving(name, address, but=pid)


async def certificates_renewed(stage: Stage) -> None:
    """Everybody has a new certificate, the broker too, while everything goes on; no client call may fail."""
    mesh = _mesh(stage)
    async with _no_call_fails(stage, "calls while certificates were renewed", crowded=True):
        await ronghe(mesh, "certs", "renew")
        await asyncio.sleep(RENEWAL_SECONDS)
    for name, party in {**{name: f"service/{name}-01" for name in SUBSYSTEMS}, "kafka": "broker/broker"}.items():
        issued = ssl.PEM_cert_to_DER_cert((mesh.data / "pki" / f"{party}.pem").read_text())
        for address in mesh.addresses[name].split(","):
            if await asyncio.to_thread(_presented, address, mesh.data / "pki") != issued:
                raise NotInjected(f"{name} at {address} does not have its new certificate")


def _presented(address: str, pki: Path) -> bytes | None:
    """The certificate of who listens there."""
    context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    own = pki / "service" / "governance-01.pem"
    context.load_cert_chain(own, own.with_suffix(".key"))
    host, _, port = address.rpartition(":")
    plain = socket.create_connection((host, int(port)), TLS_SECONDS)
    with context.wrap_socket(plain, server_hostname=host) as shown:
        return shown.getpeercert(binary_form=True)


@asynccontextmanager
async def _no_call_fails(stage: Stage, figure: str, *, crowded: bool = False) -> AsyncIterator[None]:
    """But for what the client library sends again by its own policy. Raises NotInjected.

    Where starting processes crowd the machine calls may be refused for that: they are counted, and fail nothing.
    """
    caller = stage.load.cast.caller
    failures, answered = Counter(caller.failures), caller.answered
    yield
    _count(stage, figure, calls := caller.answered - answered)
    failed = caller.failures - failures
    if crowded:
        _count(stage, "of them refused in a crowd", failed.pop(CROWDED, 0))
    if failed:
        raise NotInjected(f"{failed.total()} client calls failed, of {calls}: {dict(failed)}")


def coming_and_going(seconds: float, pause: float, name: str, still: float) -> Injection:
    """Replicas are added to those that the supervisor keeps, and removed, in turn.

    For half of the time in good order, and no client call may fail; then with every second one killed, and beside one
    of this subsystem that stands still for so many seconds.
    """

    turns = round(seconds / 2 / pause)

    async def inject(stage: Stage) -> None:
        try:
            async with _no_call_fails(stage, "calls while replicas came and went", crowded=True):
                await _come_and_go(stage, turns, pause, [signal.SIGTERM])
            pid = stage.chance.choice(list(_mesh(stage).replicas(name).values()))

            async def kill(stage: Stage) -> None:
                await _come_and_go(stage, turns, pause, [signal.SIGTERM, signal.SIGKILL], but=pid)

            await beside(kill, _paused(pid, still))(stage)
        finally:
            await _mesh(stage).remove_added()
        await _complete(_mesh(stage))

    return inject


async def _come_and_go(
    stage: Stage, turns: int, pause: float, numbers: Sequence[signal.Signals], *, but: int = NOBODY
) -> None:
    mesh, ways = _mesh(stage), cycle(numbers)
    for adds in islice(cycle((True, False)), turns):
        lacking = [name for name in SUBSYSTEMS if not mesh.has_more(name)]
        if adds and lacking:
            mesh.add(stage.chance.choice(lacking))
            _count(stage, "replicas added", 1)
        else:
            _count(stage, "replicas removed", await _remove(stage, next(ways), but))
        await asyncio.sleep(pause)


async def _remove(stage: Stage, number: signal.Signals, but: int) -> bool:
    """Any replica but this one, beside which others of its subsystem serve; whether there was one.

    The supervisor starts its own ones again.
    """
    serving = [await _mesh(stage).serving_now(name) for name in SUBSYSTEMS]
    going = [[pid for pid in replicas.values() if pid != but] for replicas in serving]
    several = [pids for pids in going if len(pids) > 1]
    return bool(several) and _signal(stage.chance.choice(stage.chance.choice(several)), number)


def _count(stage: Stage, figure: str, more: int) -> None:
    stage.figures[figure] = stage.figures.get(figure, 0) + more


def killed_replica(name: str) -> Injection:
    """SIGKILL of one replica: the others take over what it did."""

    async def inject(stage: Stage) -> None:
        mesh = _mesh(stage)
        address, pid = stage.chance.choice(list(mesh.replicas(name).items()))
        _signal(pid, signal.SIGKILL)
        async with asyncio.timeout(READY_SECONDS):
            await mesh.serving(name, address, but=pid)

    return inject


def _paused(pid: int, seconds: float) -> Injection:
    """One replica stands still, with all that it holds: connections, partitions, perhaps the lock of the journal."""

    async def inject(stage: Stage) -> None:
        _signal(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            went_on = _signal(pid, signal.SIGCONT)
        if not went_on:
            raise NotInjected("the replica that stood still did not live through it")

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
