"""Everything comes more than once: requests, records, positions that were passed long ago, items of inboxes."""

import asyncio
import json
import signal
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from clients.identity import Identity
from clients.subsystem import SubsystemClient
from faults.checker import topic
from faults.checker.collect import access
from faults.checker.topic import TOPIC
from faults.injections.kafka import PARTITIONS
from faults.injections.processes import SERVING_SECONDS
from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.load.caller import ALWAYS, COPIED
from faults.load.cast import Cast, cast
from faults.mesh import SUBSYSTEMS
from ronghe.operations.v1.operations_service_pb2 import RepublishSinceRequest
from ronghe.party.v1.party_pb2 import Officer

CONNECTIONS = 3
POLL_SECONDS = 0.2
BATCH = 500
FLUSH_SECONDS = 30.0
END_SECONDS = 60.0
FORGET = "UPDATE inbox SET acknowledged_at = NULL WHERE receiver = ? AND acknowledged_at IS NOT NULL"
OPERATOR = Identity("operator", "local")
OFFICER = Officer(id="0042", name="王敏")


def requests_copied(seconds: float) -> Injection:
    """Every request is sent two to five times at once, on several connections; to every replica there is."""

    async def inject(stage: Stage) -> None:
        caller, pki = stage.load.cast.caller, stage.mesh.data / "pki"
        async with AsyncExitStack() as stack:
            ways = other_ways(stage.mesh.addresses, {name: proxy.address for name, proxy in stage.network.items()})
            others = [await stack.enter_async_context(cast(way, pki, caller)) for way in ways]
            caller.twins = _twins(stage.load.cast, *others)
            caller.copied = ALWAYS
            try:
                await asyncio.sleep(seconds)
            finally:
                caller.copied, caller.twins = COPIED, {}
            await _last_copies(stage)

    return inject


def other_ways(addresses: Mapping[str, str], proxied: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    """For each further connection the address of each subsystem: each replica's once, a single process's as often.

    A client that has several addresses goes to one after another: copies by it may all meet the same replica.
    """
    replicas = {name: proxied.get(name, addresses[name]).split(",") for name in SUBSYSTEMS}
    count = max(CONNECTIONS - 1, *map(len, replicas.values()))
    return [{name: each[number % len(each)] for name, each in replicas.items()} for number in range(count)]


async def _last_copies(stage: Stage) -> None:
    """Return when the cases that are under way now have ended: nothing goes by the other connections any more."""
    load, waiting = stage.load, set(stage.load.under_way)
    await until(lambda: not waiting & load.under_way.keys(), END_SECONDS, "cases whose requests were copied end")


def _twins(mine: Cast, *others: Cast) -> dict[int, list[object]]:
    """Each client's `id()` -> those of the same party on other connections."""
    return {id(client): [_clients(other)[name] for other in others] for name, client in _clients(mine).items()}


def _clients(everybody: Cast) -> dict[str, object]:
    found: dict[str, object] = {"terminal": everybody.terminal, "intake": everybody.intake}
    found |= {f"center/{name}": client for name, client in everybody.centers.items()}
    for name, client in everybody.organs.items():
        found |= {f"organ/{name}": client, f"organ/{name}/collaborations": client.collaborations}
    return found


def records_doubled(seconds: float) -> Injection:
    """Whatever is on the topic, or comes to it meanwhile, is written to it a second time."""

    async def inject(stage: Stage) -> None:
        stopping = threading.Event()
        settings = access(stage.mesh.data, stage.mesh.addresses["kafka"])
        copying = asyncio.create_task(asyncio.to_thread(_copy, settings, stopping))
        await asyncio.sleep(seconds)
        stopping.set()
        doubled = await copying
        stage.figures["records doubled"] = stage.figures.get("records doubled", 0) + doubled
        if not doubled:
            raise NotInjected("no record was there to be doubled")

    return inject


def _copy(settings: Mapping[str, Any], stopping: threading.Event) -> int:
    """Copy each event once, with key and headers, into its partition; gives how many. Blocking."""
    reader = Consumer({**settings, "group.id": "faults-copies", "enable.auto.commit": False})
    writer = Producer(dict(settings))
    seen: set[bytes] = set()
    try:
        reader.assign([TopicPartition(TOPIC, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
        while not stopping.is_set():
            messages: list[Any] = reader.consume(BATCH, POLL_SECONDS)
            for message in messages:
                event_id = dict(message.headers() or ()).get("ce_id", b"")
                if message.error() is None and event_id not in seen:
                    seen.add(event_id)
                    _again(writer, message)
            writer.poll(0)
    finally:
        reader.close()
        left = writer.flush(FLUSH_SECONDS)
    return len(seen) - left


def _again(writer: Producer, message: Any) -> None:
    while True:
        try:
            writer.produce(
                TOPIC, message.value(), message.key(), partition=message.partition(), headers=message.headers()
            )
        except BufferError:
            writer.poll(POLL_SECONDS)
        else:
            return


async def cursors_moved_back(stage: Stage) -> None:
    """A consumer believes that it is half way to where it was."""
    name = stage.chance.choice(("governance", "department"))
    settings = access(stage.mesh.data, stage.mesh.addresses["kafka"])
    records = await asyncio.to_thread(topic.read, settings)
    places = {(record.partition, record.offset): record.event.id for record in records}
    moved = 0
    await stage.mesh.serves(name, SERVING_SECONDS)
    pid = stage.mesh.signal(name, signal.SIGKILL)
    with closing(sqlite3.connect(stage.mesh.database(name), timeout=10)) as connection, connection:
        for cursor, text in connection.execute("SELECT name, value FROM cursor WHERE name LIKE 'kafka/%'").fetchall():
            value, partition = json.loads(text), int(cursor.rpartition("/")[2])
            offset = int(value["next_offset"]) // 2
            if (partition, offset - 1) in places:
                value |= {"next_offset": offset, "event_id": places[partition, offset - 1]}
                connection.execute("UPDATE cursor SET value = ? WHERE name = ?", (json.dumps(value), cursor))
                moved += 1
    await stage.mesh.running(name, but=pid)
    if not moved:
        raise NotInjected(f"{name} has no place to go back from")


async def acknowledgements_forgotten(stage: Stage) -> None:
    """What one subsystem has pulled from another's inbox is all given to it again."""
    puller, giver = stage.chance.choice((("governance", "intake"), ("intake", "governance")))
    await stage.mesh.serves(puller, SERVING_SECONDS)
    pid = stage.mesh.signal(puller, signal.SIGKILL)
    with closing(sqlite3.connect(stage.mesh.database(giver), timeout=10)) as connection, connection:
        forgotten = connection.execute(FORGET, (f"service/{puller}-01",)).rowcount
    await stage.mesh.running(puller, but=pid)
    if not forgotten:
        raise NotInjected(f"{puller} had acknowledged nothing")


async def republished(stage: Stage) -> None:
    """An operator lets both relays publish their journals again, from the beginning."""
    for name in ("governance", "department"):
        address = stage.network[name].address
        async with SubsystemClient(address, stage.mesh.data / "pki", OPERATOR) as client:
            request = RepublishSinceRequest(actor=OFFICER, reason="重放", position=1)
            response = await stage.load.cast.caller.repeated(client.operations.republish_since, request)
        if response.after_position:
            raise NotInjected(f"{name} begins behind {response.after_position}")
