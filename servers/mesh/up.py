"""Starts the whole mesh on one machine, and serves until it is told to stop."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bridge.kafka import Admin, KafkaUnavailable
from bridge.settings import RETENTION_MS, BridgeSettings
from clients.channel import open_channel
from clients.credentials import Credentials, CredentialsError
from clients.identity import Identity
from servers.catalog.catalog import Catalog
from servers.mesh.errors import MeshError
from servers.mesh.folder import announced, check_room, locked
from servers.mesh.kafka import SERVICES, Broker, access
from servers.mesh.pki import Authority, issue_all, secret_file
from servers.mesh.ports import Ports
from servers.mesh.settings import MeshSettings
from servers.mesh.supervisor import Child, Keeper

SUBSYSTEMS = ("intake", "governance", "department")
OPERATOR = Identity("operator", "local")
AUDITOR = Identity("auditor", "local")


@asynccontextmanager
async def mesh(settings: MeshSettings) -> AsyncIterator[Mapping[str, Keeper]]:
    """The running mesh; when this is left, the subsystems stop, and Kafka after them. Raises MeshError."""
    data = settings.data
    with locked(data):
        check_room(data)
        ports = Ports.choose(settings.port_base)
        authority = _authority(settings)
        keepers: dict[str, Keeper] = {}
        try:
            await _start_kafka(settings, ports, authority, keepers)
            await _start_subsystems(settings, ports, keepers)
            with announced(data, ports, keepers):
                yield keepers
        finally:
            await asyncio.gather(*(keepers[name].stop() for name in SUBSYSTEMS if name in keepers))
            if "kafka" in keepers:
                await keepers["kafka"].stop()


async def _start_kafka(settings: MeshSettings, ports: Ports, authority: Authority, keepers: dict[str, Keeper]) -> None:
    broker = Broker(settings.data / "kafka", ports.kafka, ports.controller)
    command = await asyncio.to_thread(broker.prepare, authority)
    admin = Admin(access(broker.address, authority.folder, SERVICES[1]))

    async def is_ready() -> bool:
        try:
            await asyncio.to_thread(admin.wait_ready, 0.5)
        except KafkaUnavailable:
            return False
        return True

    child = Child("kafka", command, {}, settings.data / "log" / "kafka.log", is_ready)
    keepers["kafka"] = Keeper(child, settings.longest_pause)
    await keepers["kafka"].start()
    await asyncio.to_thread(_ensure_topic, admin)


def _ensure_topic(admin: Admin) -> None:
    try:
        admin.ensure_topic(BridgeSettings(), 1, {"retention.ms": str(RETENTION_MS)})
    except KafkaUnavailable as error:
        raise MeshError(f"Kafka cannot make its topic: {error}") from error


async def _start_subsystems(settings: MeshSettings, ports: Ports, keepers: dict[str, Keeper]) -> None:
    try:
        operator = Credentials.load(settings.data / "pki", OPERATOR)
    except CredentialsError as error:
        raise MeshError(f"{error}; delete {settings.data / 'pki'} to have all made anew") from error
    for name in SUBSYSTEMS:
        keepers[name] = Keeper(_subsystem(name, settings, ports, operator), settings.longest_pause)
    await asyncio.gather(*(keepers[name].start() for name in SUBSYSTEMS))


def _subsystem(name: str, settings: MeshSettings, ports: Ports, operator: Credentials) -> Child:
    data = settings.data.resolve()
    peer = {"intake": "governance", "governance": "intake"}.get(name, "")
    (data / "db").mkdir(exist_ok=True)
    environment = {
        "RONGHE_ORIGIN": f"{name}-01",
        "RONGHE_DATABASE_URL": f"sqlite:///{data / 'db' / name}.db",
        "RONGHE_LISTEN": ports.address(name),
        "RONGHE_PKI": str(data / "pki"),
        "RONGHE_SECRET": str(secret_file(data / "pki", f"{name}-01")),
        "RONGHE_PEER": ports.address(peer) if peer else "",
        "RONGHE_PEER_ORIGIN": f"{peer}-01" if peer else "",
        "RONGHE_KAFKA": "" if name == "intake" else ports.address("kafka"),
        "RONGHE_SPANS": str(data / "spans"),
        "RONGHE_LOG": str(data / "log" / f"{name}.log"),
        "RONGHE_SAMPLING": str(settings.sampling),
    }
    command = [sys.executable, "-m", f"servers.{name}"]
    is_ready = _Probe(ports.address(name), operator).is_serving
    return Child(name, command, environment, data / "log" / f"{name}.log", is_ready)


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
