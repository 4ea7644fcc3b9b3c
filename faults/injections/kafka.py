"""What happens to Kafka, its topic, and the places where consumers are."""

import asyncio
import signal
import sqlite3
import time
from contextlib import closing

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from faults.checker.collect import access
from faults.checker.topic import TOPIC
from faults.injections.stage import Injection, Stage

PARTITIONS = 12
RETENTION = {"retention.ms": str(30 * 24 * 3600 * 1000)}
GROUPS = ("governance-01", "department-01")
BEHIND_SECONDS = 4.0
ADMIN_SECONDS = 20.0


async def offsets_wiped(stage: Stage) -> None:
    """A consumer forgets where it was, in its database and on the broker: it reads everything again."""
    name = stage.chance.choice(("governance", "department"))
    pid = stage.mesh.signal(name, signal.SIGKILL)
    with closing(sqlite3.connect(stage.mesh.database(name), timeout=10)) as connection, connection:
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


def _admin(stage: Stage) -> AdminClient:
    return AdminClient(dict(access(stage.mesh.data, stage.mesh.addresses["kafka"])))
