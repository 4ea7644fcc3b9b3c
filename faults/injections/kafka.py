"""What happens to Kafka, its topic, and the places where consumers are."""

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from faults.checker.collect import access
from faults.checker.topic import TOPIC
from faults.disk import bring_back, can_mount, copy, filled, mount
from faults.injections.processes import SERVING_SECONDS, beside, stopped
from faults.injections.stage import LOOK_SECONDS, Injection, NotInjected, Stage, until
from faults.load.case import Case
from faults.load.cast import DESKS
from faults.load.courses import granted

PARTITIONS = 12
RETENTION = {"retention.ms": str(30 * 24 * 3600 * 1000)}
GROUPS = {"governance": "governance-01", "department": "department-01"}
BEHIND_SECONDS = 4.0
ADMIN_SECONDS = 20.0
DEATH_SECONDS = 30.0
ACCEPT_SECONDS, ACCEPT_PAUSE = 15.0, 0.5
DISK_BYTES = 64 << 20
"""Of the small disk, beside what is on it."""


async def offsets_wiped(stage: Stage) -> None:
    """A consumer forgets where it was, in its database and on the broker: it reads everything again."""
    mesh, name = stage.mesh, stage.chance.choice(("governance", "department"))
    admin = _admin(stage)  # must outlive its answers
    await asyncio.to_thread(_wait_for_place, admin, GROUPS[name])
    await mesh.serves(name, SERVING_SECONDS)
    mesh.pause()
    try:
        mesh.signal(name, signal.SIGKILL)
        await until(lambda: not mesh.pid(name), DEATH_SECONDS, f"{name} does not die")
        with closing(sqlite3.connect(mesh.database(name), timeout=10)) as connection, connection:
            wiped = connection.execute("DELETE FROM cursor WHERE name LIKE 'kafka/%'").rowcount
        await asyncio.to_thread(_forget, admin, GROUPS[name])
    finally:
        mesh.go_on()
    await mesh.running(name)
    if not wiped:
        raise NotInjected(f"{name} had no place to forget")


def _wait_for_place(admin: AdminClient, group: str) -> None:
    """The broker is told of places every few seconds. Raises NotInjected."""
    end = time.monotonic() + DEATH_SECONDS
    while True:
        (listed,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
        with suppress(KafkaException):
            if any(place.offset > 0 for place in listed.result(ADMIN_SECONDS).topic_partitions):
                return
        if time.monotonic() > end:
            raise NotInjected(f"the broker has no place of {group} to forget")
        time.sleep(0.5)


def _forget(admin: AdminClient, group: str) -> None:
    """Once the broker misses who was killed: until then the group has a member. Raises NotInjected."""
    end = time.monotonic() + ADMIN_SECONDS
    while True:
        (forgotten,) = admin.delete_consumer_groups([group], request_timeout=ADMIN_SECONDS).values()
        try:
            forgotten.result(ADMIN_SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NON_EMPTY_GROUP or time.monotonic() > end:
                raise NotInjected(f"the broker does not forget {group}: {error}") from error
            time.sleep(0.5)
        else:
            return


async def topic_recreated(stage: Stage) -> None:
    """The topic is deleted with everything on it, and made anew under its name."""
    await asyncio.to_thread(_recreate, stage)
    stage.topics += 1


def topic_recreated_behind(name: str) -> Injection:
    """As above, while a consumer stands still: what it has not read yet is only on the new topic."""

    async def inject(stage: Stage) -> None:
        await stage.mesh.serves(name, SERVING_SECONDS)
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


# --- down, or with older data ---


def kafka_down(seconds: float) -> Injection:
    """There is no broker for so long; intake takes applications in all the while."""

    async def inject(stage: Stage) -> None:
        async with down(stage):
            await intake_accepts(stage, seconds)

    return inject


def kafka_hangs(seconds: float, accepted_within: float = ACCEPT_SECONDS) -> Injection:
    """The broker stands still for so long; intake takes applications in all the while, each within so many seconds."""

    async def inject(stage: Stage) -> None:
        await asyncio.gather(stopped("kafka", seconds)(stage), intake_accepts(stage, seconds, accepted_within))

    return inject


@asynccontextmanager
async def down(stage: Stage) -> AsyncIterator[Path]:
    """The broker is killed, and starts at the end of the block; gives its data directory."""
    mesh = stage.mesh
    await mesh.serves("kafka", SERVING_SECONDS)
    mesh.pause()
    try:
        mesh.signal("kafka", signal.SIGKILL)
        await until(lambda: not mesh.pid("kafka"), DEATH_SECONDS, "Kafka does not die")
        yield mesh.data / "kafka" / "data"
    finally:
        mesh.go_on()
    await mesh.running("kafka")


async def intake_accepts(stage: Stage, seconds: float, within: float = ACCEPT_SECONDS) -> None:
    """Applications are taken in for so long, each in time. Raises NotInjected."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await _accepted(stage, within)
        await asyncio.sleep(ACCEPT_PAUSE)


def amid_applications(injection: Injection) -> Injection:
    """Intake takes applications in all the while, each in time."""

    async def inject(stage: Stage) -> None:
        over = asyncio.Event()

        async def injected(stage: Stage) -> None:
            try:
                await injection(stage)
            finally:
                over.set()

        async def accepted(stage: Stage) -> None:
            while not over.is_set():
                await _accepted(stage, ACCEPT_SECONDS)
                await asyncio.sleep(ACCEPT_PAUSE)

        await beside(injected, accepted)(stage)

    return inject


async def _accepted(stage: Stage, within: float) -> None:
    case = Case(next(stage.load.extra), stage.chance.choice(DESKS), stage.load.cast)
    stage.load.begin(case, granted)
    await until(lambda: bool(case.case_id), within, "intake does not take an application in")


def restored(seconds: float) -> Injection:
    """The broker's data directory is put back as it was so long ago."""

    async def inject(stage: Stage) -> None:
        old = stage.folder / "kafka-old"
        async with down(stage) as data:
            await asyncio.to_thread(copy, data, old)
        await asyncio.sleep(seconds)
        async with down(stage) as data:
            await asyncio.to_thread(shutil.rmtree, data)
            old.rename(data)
        stage.topics += 1

    return inject


async def segment_cut(stage: Stage) -> None:
    """The fullest partition loses the second half of its log; the others keep theirs."""
    async with down(stage) as data:
        log = max(data.glob(f"{TOPIC}-*/*.log"), key=lambda path: path.stat().st_size)
        os.truncate(log, log.stat().st_size // 2)
    stage.topics += 1


# --- no room, no disk ---


def log_dir_offline(seconds: float) -> Injection:
    """The broker's data directory is not there for so long."""

    async def inject(stage: Stage) -> None:
        await asyncio.to_thread(_wait_until_it_serves, stage)  # one that is just starting would begin anew, on nothing
        pid, data = stage.mesh.pid("kafka"), stage.mesh.data / "kafka" / "data"
        away = data.with_name("away")
        data.rename(away)
        try:
            await until(lambda: stage.mesh.pid("kafka") != pid, DEATH_SECONDS, "Kafka does not miss its data")
            await intake_accepts(stage, seconds)
        finally:
            shutil.rmtree(data, ignore_errors=True)
            away.rename(data)

    return inject


def _wait_until_it_serves(stage: Stage) -> None:
    admin = _admin(stage)  # must outlive its answer
    try:
        admin.list_topics(timeout=DEATH_SECONDS)
    except KafkaException as error:
        raise NotInjected(f"Kafka does not serve: not within {DEATH_SECONDS:.0f} s") from error


def disk_full(seconds: float) -> Injection:
    """Nothing can be written to the broker's disk for so long: a small one where one can be mounted."""

    async def inject(stage: Stage) -> None:
        is_real = await asyncio.to_thread(can_mount, stage.folder / "probe")
        stage.figures["brokers on a disk that was full for real"] = int(is_real)
        await (_small_disk if is_real else _no_writing)(stage, seconds)

    return inject


async def _small_disk(stage: Stage, seconds: float) -> None:
    large = stage.mesh.data / "kafka" / "large"
    async with down(stage) as data:
        await asyncio.to_thread(_move_to_small_disk, data, large)
    try:
        pid = stage.mesh.pid("kafka")
        with filled(data):
            await until(lambda: stage.mesh.pid("kafka") != pid, DEATH_SECONDS, "Kafka does not miss the room")
            await intake_accepts(stage, seconds)
    finally:
        async with down(stage):
            await asyncio.to_thread(_move_back, data, large)


def _move_to_small_disk(data: Path, large: Path) -> None:
    data.rename(large)
    data.mkdir()
    used = sum(path.stat().st_blocks * 512 for path in large.rglob("*"))
    mount(data, used + DISK_BYTES)
    copy(large, data)


def _move_back(data: Path, large: Path) -> None:
    bring_back(data)
    shutil.rmtree(large)


async def _no_writing(stage: Stage, seconds: float) -> None:
    """No file of the broker's may grow beyond nothing; a broker that was started again is caught as well."""
    await asyncio.to_thread(_wait_until_it_serves, stage)  # one that is just starting has nothing to miss
    pid = stage.mesh.pid("kafka")
    forbidding = asyncio.create_task(_forbid(stage))
    try:
        await until(lambda: stage.mesh.pid("kafka") != pid, DEATH_SECONDS, "Kafka does not miss the room")
        await intake_accepts(stage, seconds)
    finally:
        forbidding.cancel()
        await asyncio.gather(forbidding, return_exceptions=True)
        stage.mesh.signal("kafka", signal.SIGKILL)  # the next one may write


async def _forbid(stage: Stage) -> None:
    while True:
        if pid := stage.mesh.pid("kafka"):
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        await asyncio.sleep(LOOK_SECONDS)
