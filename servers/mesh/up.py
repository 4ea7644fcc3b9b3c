"""Starts the whole mesh on one machine, and serves until it is told to stop."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bridge.kafka import Admin, KafkaUnavailable
from bridge.settings import RETENTION_MS, BridgeSettings
from clients.backoff import Backoff
from clients.channel import open_channel
from clients.credentials import Credentials, CredentialsError
from clients.identity import Identity
from servers.catalog.catalog import Catalog
from servers.mesh.databases import check_there, database_url, make_databases, note_epoch
from servers.mesh.errors import MeshError
from servers.mesh.folder import announced, check_room, locked
from servers.mesh.kafka import SERVICES, Broker, access, least_in_sync
from servers.mesh.logs import bounded
from servers.mesh.pki import Authority, issue_all, secret_file
from servers.mesh.ports import SUBSYSTEMS, Ports
from servers.mesh.settings import MeshSettings, load_bridge
from servers.mesh.supervisor import Child, Keeper

OPERATOR = Identity("operator", "local")
AUDITOR = Identity("auditor", "local")

log = structlog.get_logger()


@asynccontextmanager
async def mesh(settings: MeshSettings) -> AsyncIterator[Mapping[str, Keeper]]:
    """The mesh, all of it ready; when this is left, the subsystems stop, and Kafka after them. Raises MeshError."""
    data, bridge = settings.data, load_bridge()
    with locked(data):
        check_room(data)
        await asyncio.to_thread(make_databases, settings.database, data.resolve(), SUBSYSTEMS)
        ports = Ports.choose(settings.port_base, settings.replicas, settings.brokers)
        authority = _authority(settings)
        keepers: dict[str, Keeper] = {}
        logs = asyncio.create_task(bounded(data / "log"))
        try:
            keepers |= _kept(settings, await _brokers(settings, ports, authority))
            # Side by side: no subsystem needs the broker to serve, and that may have much to recover.
            starting = _start_kafka(settings, bridge, ports, dict(keepers))
            await _all(starting, _start_subsystems(settings, ports, keepers))
            with announced(data, ports, keepers):
                yield keepers
        finally:
            brokers = [keeper for name, keeper in keepers.items() if name.startswith("kafka")]
            await asyncio.gather(*(keeper.stop() for keeper in keepers.values() if keeper not in brokers))
            await asyncio.gather(*(keeper.stop() for keeper in brokers))
            logs.cancel()


async def _all(*works: Coroutine[Any, Any, None]) -> None:
    """Return when all are done; the first failure ends the others, and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _kept(settings: MeshSettings, children: Mapping[str, Child]) -> dict[str, Keeper]:
    return {key: Keeper(child, settings.longest_pause) for key, child in children.items()}


async def _brokers(settings: MeshSettings, ports: Ports, authority: Authority) -> Mapping[str, Child]:
    """The brokers, prepared; raises MeshError for what keeps Kafka from running here at all."""
    controllers = [ports.controller, *(controller for _, controller in ports.brokers)]
    route = settings.routes.get("kafka", "")
    first = Broker(settings.data / "kafka", ports.kafka, ports.controller, route, controllers=controllers)
    commands = {"kafka": (first, await asyncio.to_thread(first.prepare, authority))}
    for number, (port, controller) in enumerate(ports.brokers, 2):
        folder = settings.data / f"kafka-{number}"
        other = Broker(folder, port, controller, "", number, controllers, first.cluster_id())
        commands[_key("kafka", number)] = other, await asyncio.to_thread(other.prepare, authority)
    return {key: _broker(broker, command, settings, authority) for key, (broker, command) in commands.items()}


async def _start_kafka(
    settings: MeshSettings, bridge: BridgeSettings, ports: Ports, keepers: Mapping[str, Keeper]
) -> None:
    # Together: one alone is no quorum.
    await _all(*(keeper.start() for keeper in keepers.values()))
    admin = Admin(access(ports.addresses("kafka"), settings.data / "pki", SERVICES[1]))
    await _make_topic(admin, bridge, settings.brokers)


async def _make_topic(admin: Admin, bridge: BridgeSettings, brokers: int) -> None:
    config = {"retention.ms": str(RETENTION_MS), "min.insync.replicas": str(least_in_sync(brokers))}
    backoff = Backoff()
    while True:
        try:
            return await asyncio.to_thread(admin.ensure_topic, bridge, brokers, config)
        except KafkaUnavailable as error:
            log.warning("mesh.topic_waiting", error=str(error))
            await backoff.wait()


def _broker(broker: Broker, command: list[str], settings: MeshSettings, authority: Authority) -> Child:
    admin = Admin(access(broker.address, authority.folder, SERVICES[1]))

    async def is_ready() -> bool:
        try:
            await asyncio.to_thread(admin.wait_ready, 0.5)
        except KafkaUnavailable:
            return False
        return True

    return Child(broker.folder.name, command, {}, settings.data / "log" / f"{broker.folder.name}.log", is_ready)


async def _start_subsystems(settings: MeshSettings, ports: Ports, keepers: dict[str, Keeper]) -> None:
    try:
        operator = Credentials.load(settings.data / "pki", OPERATOR)
    except CredentialsError as error:
        raise MeshError(f"{error}; delete {settings.data / 'pki'} to have all made anew") from error
    # One row of replicas after the other: a start takes a core for some seconds.
    for replica in range(1, settings.replicas + 1):
        row = {_key(name, replica): _subsystem(name, replica, settings, ports, operator) for name in SUBSYSTEMS}
        keepers.update(started := _kept(settings, row))
        await _all(*(_start(keeper, name, settings) for name, keeper in zip(SUBSYSTEMS, started.values(), strict=True)))


async def _start(keeper: Keeper, name: str, settings: MeshSettings) -> None:
    """And remember that there is a database now: from here on it gives numbers out."""
    await keeper.start()
    await note_epoch(settings.database, settings.data.resolve(), name)


def _key(name: str, replica: int) -> str:
    """What a process is called among the keepers: "intake", "intake/2"."""
    return name if replica == 1 else f"{name}/{replica}"


def _subsystem(name: str, replica: int, settings: MeshSettings, ports: Ports, operator: Credentials) -> Child:
    data = settings.data.resolve()
    peer = {"intake": "governance", "governance": "intake"}.get(name, "")
    file = name if replica == 1 else f"{name}-{replica}"
    environment = {
        "RONGHE_ORIGIN": f"{name}-01",
        "RONGHE_INSTANCE": f"{name}-01" if replica == 1 else f"{name}-01-{replica}",
        "RONGHE_DATABASE_URL": database_url(settings.database, data, name),
        "RONGHE_LISTEN": ports.address(name, replica),
        "RONGHE_PKI": str(data / "pki"),
        "RONGHE_SECRET": str(secret_file(data / "pki", f"{name}-01")),
        "RONGHE_PEER": _route(settings, ports, peer) if peer else "",
        "RONGHE_PEER_ORIGIN": f"{peer}-01" if peer else "",
        "RONGHE_KAFKA": _route(settings, ports, "kafka"),
        "RONGHE_SPANS": str(data / "spans"),
        "RONGHE_LOG": str(data / "log" / f"{file}.log"),
        "RONGHE_SAMPLING": str(settings.sampling),
        "RONGHE_STEPPED_CLOCK": str(settings.stepped_clock),
        "RONGHE_INTAKES": json.dumps(settings.intakes),
    }
    command = [sys.executable, "-m", f"servers.{name}"]
    source = settings.sources.get(_key(name, replica))
    if source is not None:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, (source, source / "proto")))
        command.insert(1, "-P")  # and from nowhere else, such as the working directory
    is_ready = _Probe(ports.address(name, replica), operator).is_serving
    may_start = partial(_check, settings.database, data, name)
    return Child(file, command, environment, data / "log" / f"{file}.log", is_ready, may_start)


def _check(database: str, data: Path, name: str) -> None:
    """Whether a subsystem can start again. A renewal of its certificate that was cut short is done again.

    Raises MeshError, also where the authority is not there: another one would be nobody's.
    """
    check_there(database, data, name)
    identity = Identity("service", f"{name}-01")
    try:
        Credentials.load(data / "pki", identity)
    except CredentialsError as error:
        if not all((data / "pki" / name).exists() for name in ("ca.pem", "ca.key")):
            raise MeshError(str(error)) from error
        log.warning("mesh.certificate", problem=str(error))
        issue_all(data / "pki", [identity])


def _route(settings: MeshSettings, ports: Ports, name: str) -> str:
    """By which the other processes reach this one."""
    return settings.routes.get(name, ports.addresses(name))


@dataclass(frozen=True, slots=True)
class _Probe:
    """Asks a subsystem's health service."""

    address: str
    operator: Credentials

    async def is_serving(self) -> bool:
        async with open_channel(self.address, self.operator) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=1)
            except grpc.aio.AioRpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _authority(settings: MeshSettings) -> Authority:
    """The local authority, with a certificate for everyone who takes part."""
    identities = [Identity("service", name) for name in SERVICES]
    identities += [Identity(kind, intake) for intake in settings.intakes for kind in ("intake", "terminal")]
    catalog = Catalog.load()
    identities += [Identity("organ", organ_id) for organ_id in catalog.organs]
    identities += [Identity("center", center_id) for center_id in catalog.centers]
    return issue_all(settings.data / "pki", [*identities, OPERATOR, AUDITOR])
