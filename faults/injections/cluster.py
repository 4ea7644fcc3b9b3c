"""A cluster of three brokers loses one, then two."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Collection

from confluent_kafka.admin import AdminClient

from faults.checker.collect import access
from faults.checker.topic import TOPIC
from faults.injections.kafka import ADMIN_SECONDS, DEATH_SECONDS, intake_accepts
from faults.injections.stage import Injection, Stage, until
from faults.meshes.cluster import BROKERS, ClusteredMesh


async def leader_killed(stage: Stage) -> None:
    """The broker that leads most partitions dies, and is started again."""
    mesh, number = _mesh(stage), await asyncio.to_thread(_leader, stage)
    pid = mesh.broker(number)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: mesh.broker(number) not in (0, pid), DEATH_SECONDS, "the broker is not started again")


def leader_stopped(seconds: float) -> Injection:
    """The broker that leads most partitions stands still."""

    async def inject(stage: Stage) -> None:
        await _stand_still(stage, {await asyncio.to_thread(_leader, stage)}, seconds)

    return inject


def two_stopped(seconds: float) -> Injection:
    """The leader and another one stand still: what is left is no quorum, and acknowledges nothing."""

    async def inject(stage: Stage) -> None:
        leader = await asyncio.to_thread(_leader, stage)
        other = stage.chance.choice([number for number in BROKERS if number != leader])
        await _stand_still(stage, {leader, other}, seconds)

    return inject


def two_killed(seconds: float) -> Injection:
    """Two brokers die, and nothing is started again for so long."""

    async def inject(stage: Stage) -> None:
        mesh = _mesh(stage)
        numbers = stage.chance.sample(sorted(BROKERS), 2)
        mesh.pause()
        try:
            for number in numbers:
                os.kill(mesh.broker(number), signal.SIGKILL)
            await intake_accepts(stage, seconds)
        finally:
            mesh.go_on()
        await until(lambda: all(map(mesh.broker, numbers)), DEATH_SECONDS, "the brokers are not started again")

    return inject


async def _stand_still(stage: Stage, numbers: Collection[int], seconds: float) -> None:
    pids = [_mesh(stage).broker(number) for number in numbers]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        await intake_accepts(stage, seconds)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _leader(stage: Stage) -> int:
    """Of most partitions."""
    admin = AdminClient(dict(access(stage.mesh.data, stage.mesh.addresses["kafka"])))
    partitions = admin.list_topics(TOPIC, timeout=ADMIN_SECONDS).topics[TOPIC].partitions.values()
    ((number, _),) = Counter(each.leader for each in partitions if each.leader in BROKERS).most_common(1)
    return number


def _mesh(stage: Stage) -> ClusteredMesh:
    assert isinstance(stage.mesh, ClusteredMesh)  # noqa: S101 - the scene makes it
    return stage.mesh
