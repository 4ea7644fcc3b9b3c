"""What happens to replicas: they go and come, one after another or at random, stand still, or do one work twice."""

import asyncio
import json
import os
import signal
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

from faults.checker import topic
from faults.checker.collect import access
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
LEAST_SERVING = 0.5
"""Of the replicas that are added. With seed 214 all 33 came to serve."""
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
    """Everybody has a new certificate, the broker too, while everything goes on; no client call may fail.

    Every process is the same as before.
    """
    mesh = _mesh(stage)
    before = _pids(mesh)
    async with _no_call_fails(stage, "calls while certificates were renewed", crowded=True):
        await ronghe(mesh, "certs", "renew")
        await asyncio.sleep(RENEWAL_SECONDS)
    for name, party in {**{name: f"service/{name}-01" for name in SUBSYSTEMS}, "kafka": "broker/broker"}.items():
        issued = ssl.PEM_cert_to_DER_cert((mesh.data / "pki" / f"{party}.pem").read_text())
        for address in mesh.addresses[name].split(","):
            if await asyncio.to_thread(_presented, address, mesh.data / "pki") != issued:
                raise NotInjected(f"{name} at {address} does not have its new certificate")
    _all_live(before, _pids(mesh))


def _pids(mesh: ReplicatedMesh) -> Mapping[str, int]:
    """Who -> the pid of its process."""
    replicas = {f"{name} at {at}": pid for name in SUBSYSTEMS for at, pid in mesh.replicas(name).items()}
    return {**replicas, "kafka": mesh.pid("kafka")}


def _all_live(before: Mapping[str, int], after: Mapping[str, int]) -> None:
    """Raises NotInjected where somebody was started again."""
    others = [who for who, pid in before.items() if after.get(who) != pid]
    if others:
        raise NotInjected(f"did not live through it: {', '.join(others)}")


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
        traffic = Traffic()
        try:
            async with _no_call_fails(stage, "calls while replicas came and went", crowded=True):
                await _come_and_go(stage, traffic, turns, pause, [signal.SIGTERM])
            pid = stage.chance.choice(list(_mesh(stage).replicas(name).values()))

            async def kill(stage: Stage) -> None:
                await _come_and_go(stage, traffic, turns, pause, [signal.SIGTERM, signal.SIGKILL], but=pid)

            await beside(kill, _paused(pid, still))(stage)
        finally:
            await _mesh(stage).remove_added()
        await _complete(_mesh(stage))
        _judge(stage, traffic)

    return inject


@dataclass(slots=True)
class Traffic:
    """Which replicas came and went, by their pids."""

    added: set[int] = field(default_factory=set)
    served: set[int] = field(default_factory=set)
    """They let callers in at some time; others than those that were added are among them."""
    removed: set[int] = field(default_factory=set)
    """They let callers in until then."""
    in_vain: int = 0
    """How often none could be removed."""


async def _come_and_go(
    stage: Stage, traffic: Traffic, turns: int, pause: float, numbers: Sequence[signal.Signals], *, but: int = NOBODY
) -> None:
    mesh, ways = _mesh(stage), cycle(numbers)
    for adds in islice(cycle((True, False)), turns):
        serving = [await mesh.serving_now(name) for name in SUBSYSTEMS]
        traffic.served.update(pid for replicas in serving for pid in replicas.values())
        lacking = [name for name in SUBSYSTEMS if not mesh.has_more(name)]
        if adds and lacking:
            traffic.added.add(mesh.add(stage.chance.choice(lacking)))
        elif pid := _remove(stage, serving, next(ways), but):
            traffic.removed.add(pid)
        else:
            traffic.in_vain += 1
        await asyncio.sleep(pause)


def _remove(stage: Stage, serving: Sequence[Mapping[str, int]], number: signal.Signals, but: int) -> int:
    """Any replica but this one, beside which others of its subsystem serve; gives its pid, NOBODY where there was none.

    The supervisor starts its own ones again.
    """
    going = [[pid for pid in replicas.values() if pid != but] for replicas in serving]
    several = [pids for pids in going if len(pids) > 1]
    if not several:
        return NOBODY
    pid = stage.chance.choice(stage.chance.choice(several))
    return pid if _signal(pid, number) else NOBODY


def _judge(stage: Stage, traffic: Traffic) -> None:
    """Raises NotInjected where replicas were only started, or were not removed while they served."""
    came = traffic.added & traffic.served
    _count(stage, "replicas added", len(traffic.added))
    _count(stage, "of them came to serve", len(came))
    _count(stage, "replicas removed while they served", len(traffic.removed))
    _count(stage, "of them added before", len(came & traffic.removed))
    if not traffic.added or len(came) < LEAST_SERVING * len(traffic.added):
        raise NotInjected(f"of {len(traffic.added)} replicas that were added {len(came)} came to serve")
    if not came & traffic.removed:
        raise NotInjected("no replica that was added was removed while it served")
    if traffic.in_vain > len(traffic.removed):
        raise NotInjected(f"{len(traffic.removed)} replicas were removed, {traffic.in_vain} times there was none")


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
    """The one that publishes stands still until another one does, goes on beside it, and leaves the work to it.

    The report has how many records were on the topic a second time then: whatever both have published.
    """

    async def inject(stage: Stage) -> None:
        mesh = _mesh(stage)
        repeats = await _repeats(mesh, name)
        await until(lambda: _holder(mesh, name) != NOBODY, LEASE_SECONDS, f"a relay of {name}")
        first = _holder(mesh, name)
        log = mesh.log(first)
        left = _left(log)
        _signal(first, signal.SIGSTOP)
        try:
            await until(lambda: _holder(mesh, name) not in (NOBODY, first), LEASE_SECONDS, f"another relay of {name}")
        finally:
            _signal(first, signal.SIGCONT)
        await until(lambda: _left(log) > left, LEASE_SECONDS, f"a relay of {name} goes on beside another, and leaves")
        _count(stage, "records of two relays at once", await _repeats(mesh, name) - repeats)

    return inject


def _left(log: Path) -> int:
    """How often a relay was at work while the lease was another's, and then left it."""
    return sum(b'"lease.lost"' in line and b'"relay"' in line for line in log.read_bytes().splitlines())


async def _repeats(mesh: ReplicatedMesh, name: str) -> int:
    """How many of a subsystem's records are on the topic once more."""
    records = await asyncio.to_thread(topic.read, access(mesh.data, mesh.addresses["kafka"]))
    own = [record.event.id for record in records if record.event.origin.startswith(f"{name}-")]
    return len(own) - len(set(own))


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
