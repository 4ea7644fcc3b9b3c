"""Starts the whole mesh on one machine, and serves until it is told to stop."""

import asyncio
import fcntl
import json
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bridge.kafka import Admin, KafkaUnavailable
from bridge.settings import RETENTION_MS, BridgeSettings
from clients.channel import open_channel
from clients.credentials import Credentials
from clients.identity import Identity
from servers.catalog.catalog import Catalog
from servers.mesh.errors import MeshError
from servers.mesh.kafka import SERVICES, Broker, access
from servers.mesh.pki import Authority, issue_all, secret_file
from servers.mesh.settings import MeshSettings
from servers.mesh.supervisor import Child, Keeper

SUBSYSTEMS = ("intake", "governance", "department")
OPERATOR = Identity("operator", "local")
AUDITOR = Identity("auditor", "local")
LEAST_FREE_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens."""

    intake: int
    governance: int
    department: int
    kafka: int
    controller: int

    @classmethod
    def choose(cls, base: int) -> "Ports":
        """Fixed distances from the base, or any free ones for 0. Raises MeshError when one is taken."""
        if base == 0:
            return cls(*_free_ports(5))
        ports = cls(base + 1, base + 2, base + 3, base + 92, base + 93)
        for port in (ports.intake, ports.governance, ports.department, ports.kafka, ports.controller):
            _check_free(port)
        return ports

    def address(self, name: str) -> str:
        """For clients."""
        return f"127.0.0.1:{getattr(self, name)}"


@asynccontextmanager
async def mesh(settings: MeshSettings) -> AsyncIterator[Mapping[str, Keeper]]:
    """The running mesh; when this is left, the subsystems stop, and Kafka after them. Raises MeshError."""
    data = settings.data
    with _locked(data):
        _check_disk(data)
        ports = Ports.choose(settings.port_base)
        authority = _authority(settings)
        keepers: dict[str, Keeper] = {}
        try:
            await _start_kafka(settings, ports, authority, keepers)
            await _start_subsystems(settings, ports, keepers)
            endpoints = _write_endpoints(data, ports, keepers)
            try:
                yield keepers
            finally:
                endpoints.unlink(missing_ok=True)
        finally:
            await asyncio.gather(*(keepers[name].stop() for name in SUBSYSTEMS if name in keepers))
            if "kafka" in keepers:
                await keepers["kafka"].stop()


async def _start_kafka(
    settings: MeshSettings, ports: Ports, authority: Authority, keepers: dict[str, Keeper]
) -> None:
    broker = Broker(settings.data / "kafka", ports.kafka, ports.controller)
    command = await asyncio.to_thread(broker.prepare, authority)
    admin = Admin(access(broker.address, authority.folder, SERVICES[1]))

    async def is_ready() -> bool:
        try:
            await asyncio.to_thread(admin.wait_ready, 0.5)
        except KafkaUnavailable:
            return False
        return True

    keepers["kafka"] = Keeper(Child("kafka", command, {}, settings.data / "log" / "kafka.log", is_ready))
    await keepers["kafka"].start()
    retention = {"retention.ms": str(RETENTION_MS)}
    await asyncio.to_thread(admin.ensure_topic, BridgeSettings(), 1, retention)


async def _start_subsystems(settings: MeshSettings, ports: Ports, keepers: dict[str, Keeper]) -> None:
    for name in SUBSYSTEMS:
        keepers[name] = Keeper(_subsystem(name, settings, ports))
    await asyncio.gather(*(keepers[name].start() for name in SUBSYSTEMS))


def _subsystem(name: str, settings: MeshSettings, ports: Ports) -> Child:
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
    is_ready = _Probe(ports.address(name), data / "pki").is_serving
    return Child(name, command, environment, data / "log" / f"{name}.log", is_ready)


@dataclass(frozen=True, slots=True)
class _Probe:
    """Asks a subsystem's health service."""

    address: str
    pki: Path

    async def is_serving(self) -> bool:
        async with open_channel(self.address, Credentials.load(self.pki, OPERATOR)) as channel:
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
    identities += [Identity("organ", organ.id) for organ in Catalog.load().organs.values()]
    return issue_all(settings.data / "pki", [*identities, OPERATOR, AUDITOR])


def _write_endpoints(data: Path, ports: Ports, keepers: Mapping[str, Keeper]) -> Path:
    path = data / "run" / "endpoints.json"
    path.parent.mkdir(exist_ok=True)
    found = {name: {"address": ports.address(name), "pid": keeper.pid} for name, keeper in keepers.items()}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(found, indent=2) + "\n")
    new.rename(path)
    return path


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """One mesh at a time on a data directory; the lock goes with the process."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        file = (data / "lock").open("w")
    except OSError as error:
        raise MeshError(f"the data directory {data} cannot be written: {error.strerror}; name another with --data") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MeshError(f"a mesh runs on {data} already: stop it, or name another directory with --data") from error
        # What a mesh that was killed left behind.
        (data / "run" / "endpoints.json").unlink(missing_ok=True)
        yield


def _check_disk(data: Path) -> None:
    free = shutil.disk_usage(data).free
    if free < LEAST_FREE_BYTES:
        raise MeshError(
            f"only {free // 1_000_000} MB are free for {data}, {LEAST_FREE_BYTES // 1_000_000} MB are needed: make room"
        )


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise MeshError(f"port {port} is taken: free it, or choose other ports with --port-base") from error


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
