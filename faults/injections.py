"""The faults themselves: each breaks one thing, and returns when it is whole again or will be by itself."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from faults.checker.collect import access
from faults.checker.topic import TOPIC
from faults.mesh import SUBSYSTEMS, Mesh
from faults.poison import brew, pour
from faults.proxy import Network, Proxy

PARTITIONS = 12
RETENTION = {"retention.ms": str(30 * 24 * 3600 * 1000)}
GROUPS = ("governance-01", "department-01")
LOOK_SECONDS = 0.02
BEHIND_SECONDS = 4.0
ADMIN_SECONDS = 20.0
FUSE_SECONDS = 30.0
"""A crash point that is not passed for so long does not count."""


@dataclass(slots=True)
class Stage:
    """What is to be broken."""

    mesh: Mesh
    crashes: Path
    """Folder in which a process finds at its start where it is to die."""
    chance: Random
    network: Mapping[str, Proxy]
    """Between the callers and each subsystem."""
    forged: set[str] = field(default_factory=set)
    """Ids of events that are poison."""
    topics: int = 1
    """How many topics there have been."""


class NotInjected(Exception):
    """The fault could not be brought about."""


Injection = Callable[[Stage], Awaitable[None]]

POINTS: Mapping[str, tuple[str, ...]] = {
    "before-commit": SUBSYSTEMS,
    "after-commit": SUBSYSTEMS,
    "after-produce": ("governance", "department"),
    "after-offset": ("governance", "department"),
    "before-ack": ("intake", "governance"),
    "after-delivery": SUBSYSTEMS,
    "timer-due": ("department",),
    "during-migration": SUBSYSTEMS,
    "during-shutdown": SUBSYSTEMS,
}
"""Crash point -> the subsystems that pass it."""
AT_START = ("during-migration",)
MOST_PASSES = 12


def killed(name: str) -> Injection:
    """SIGKILL of a process; the supervisor starts it again."""

    async def inject(stage: Stage) -> None:
        await stage.mesh.running(name)
        pid = stage.mesh.signal(name, signal.SIGKILL)
        await stage.mesh.running(name, but=pid)

    return inject


def stopped(name: str, seconds: float) -> Injection:
    """A process stands still, and goes on."""

    async def inject(stage: Stage) -> None:
        await stage.mesh.running(name)
        pid = stage.mesh.signal(name, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            if stage.mesh.pid(name) == pid:
                stage.mesh.signal(name, signal.SIGCONT)

    return inject


def crashed(point: str, name: str) -> Injection:
    """A process dies at a named point, at a pass that chance names: it learns of it at its start, so it dies twice."""

    async def inject(stage: Stage) -> None:
        fuse = stage.crashes / f"{name}-01"
        passes = (
            1
            if point in AT_START or point in ("timer-due", "during-shutdown")
            else stage.chance.randint(1, MOST_PASSES)
        )
        fuse.write_text(f"{point}:{passes}")
        try:
            await killed(name)(stage)
            pid = stage.mesh.pid(name)
            await _lit(stage, point, name, pid)
            await _dead(stage, name, pid)
        finally:
            fuse.unlink()
        await stage.mesh.running(name, but=pid)

    return inject


async def _lit(stage: Stage, point: str, name: str, pid: int) -> None:
    """What it takes for a process to come by the point."""
    if point == "timer-due":
        await _make_due(stage, name)
    elif point == "during-shutdown":
        await asyncio.sleep(BOOT_SECONDS)
        if stage.mesh.pid(name) == pid:
            stage.mesh.signal(name, signal.SIGTERM)


BOOT_SECONDS = 4.0


async def _make_due(stage: Stage, name: str) -> None:
    """Days pass in no time: sign-in timers that wait are due now."""
    end = time.monotonic() + FUSE_SECONDS
    while time.monotonic() < end:
        with closing(sqlite3.connect(database(stage.mesh, name), timeout=10)) as connection, connection:
            moved = connection.execute(
                "UPDATE timer SET due_at = ? WHERE name = 'sign-in'", (time.time_ns() // 1000,)
            ).rowcount
        if moved:
            return
        await asyncio.sleep(0.2)


async def _dead(stage: Stage, name: str, pid: int) -> None:
    end = time.monotonic() + FUSE_SECONDS
    while stage.mesh.pid(name) == pid:
        if time.monotonic() > end:
            raise NotInjected(f"{name} did not come by in {FUSE_SECONDS:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)


async def offsets_wiped(stage: Stage) -> None:
    """A consumer forgets where it was, in its database and on the broker: it reads everything again."""
    name = stage.chance.choice(("governance", "department"))
    pid = stage.mesh.signal(name, signal.SIGKILL)
    with closing(sqlite3.connect(database(stage.mesh, name), timeout=10)) as connection, connection:
        connection.execute("DELETE FROM cursor WHERE name LIKE 'kafka/%'")
    await asyncio.to_thread(_forget_groups, stage)
    await stage.mesh.running(name, but=pid)


def _forget_groups(stage: Stage) -> None:
    admin = _admin(stage)  # must outlive its answers
    for future in admin.delete_consumer_groups(list(GROUPS), request_timeout=ADMIN_SECONDS).values():
        try:
            future.result(ADMIN_SECONDS)
        except KafkaException:
            continue  # it still has a member, or is forgotten already: the database counts


async def topic_recreated(stage: Stage) -> None:
    """The topic is deleted with everything on it, and made anew under its name."""
    await asyncio.to_thread(_recreate, stage)
    stage.topics += 1


def topic_recreated_behind(name: str) -> Injection:
    """As above, while a consumer stands still: what it has not read yet is only on the new topic."""

    async def inject(stage: Stage) -> None:
        await stage.mesh.running(name)
        pid = stage.mesh.signal(name, signal.SIGSTOP)
        try:
            await asyncio.sleep(BEHIND_SECONDS)
            await topic_recreated(stage)
            await asyncio.sleep(BEHIND_SECONDS)
        finally:
            if stage.mesh.pid(name) == pid:
                stage.mesh.signal(name, signal.SIGCONT)

    return inject


def _recreate(stage: Stage) -> None:
    admin = _admin(stage)
    for future in admin.delete_topics([TOPIC], operation_timeout=ADMIN_SECONDS).values():
        future.result(ADMIN_SECONDS)
    end = time.monotonic() + ADMIN_SECONDS
    while True:
        time.sleep(0.5)
        (made,) = admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, config=RETENTION)]).values()
        try:
            made.result(ADMIN_SECONDS)
        except KafkaException:
            if time.monotonic() > end:
                raise
        else:
            return


def bad_network(network: Network, seconds: float) -> Injection:
    """Between all callers and one subsystem."""

    async def inject(stage: Stage) -> None:
        proxy = stage.network[stage.chance.choice(SUBSYSTEMS)]
        proxy.become(network)
        try:
            await asyncio.sleep(seconds)
        finally:
            proxy.heal()

    return inject


async def poisoned(stage: Stage) -> None:
    """Somebody with a service's certificate writes what no deployment would."""
    messages = brew(stage.chance)
    stage.forged.update(each.event_id for each in messages if each.event_id)
    await asyncio.to_thread(pour, access(stage.mesh.data, stage.mesh.addresses["kafka"]), messages)


async def mesh_killed(stage: Stage) -> None:
    """The supervisor and everything under it die at once; it is started again by hand."""
    stage.mesh.kill()
    await stage.mesh.start()


def database(mesh: Mesh, name: str) -> Path:
    """A subsystem's database."""
    return mesh.data / "db" / f"{name}.db"


def _admin(stage: Stage) -> AdminClient:
    return AdminClient(dict(access(stage.mesh.data, stage.mesh.addresses["kafka"])))
