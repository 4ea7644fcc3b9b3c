"""A real Apache Kafka as child processes, one or three: TLS, client certificates, only services read or write."""

import base64
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.kafka import KafkaAccess
from servers.mesh.errors import MeshError
from servers.mesh.jars import class_path
from servers.mesh.java import archive_options, find_java
from servers.mesh.pki import Authority

# Touched from the start: otherwise the broker grows into its heap for an hour, and a leak would look the same.
HEAP = ("-Xms256m", "-Xmx512m", "-XX:+AlwaysPreTouch", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOGGING = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
SERVICES = ("intake-01", "governance-01", "department-01")

# After a kill the controller lets the broker come back only when the session of the one before has ended: by default
# that takes 9 s.
#
# The JVM compiles with C1 only, whose AES is slow: the first cipher is cheaper.
PROPERTIES = """\
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=BROKER://{route}
controller.listener.names=CONTROLLER
inter.broker.listener.name=BROKER
listener.security.protocol.map=BROKER:SSL,CONTROLLER:SSL
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
ssl.client.auth=required
ssl.cipher.suites=TLS_CHACHA20_POLY1305_SHA256,TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
ssl.endpoint.identification.algorithm=
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users={users}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor={copies}
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={least}
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={least}
group.initial.rebalance.delay.ms=0
num.network.threads=1
num.io.threads=2
background.threads=2
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.cleaner.dedupe.buffer.size=2097152
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker keeps its things, and its two ports."""

    folder: Path
    port: int
    controller_port: int
    route: str = ""
    """Address that it tells clients to come back to, where that is not its own."""
    number: int = 1
    """Which of the cluster's brokers it is."""
    controllers: Sequence[int] = ()
    """Controller ports of all, where there are several."""
    cluster: str = ""
    """Id of the cluster that it joins, where it is not the first."""

    @property
    def address(self) -> str:
        """For clients."""
        return f"127.0.0.1:{self.port}"

    def prepare(self, authority: Authority) -> list[str]:
        """Format the data directory when it is new; gives the command that runs the broker. Raises MeshError."""
        java, jars = find_java(), class_path()
        properties = self._write_properties(authority)
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(java, jars, properties)
        return [java, *archive_options(java, jars), *HEAP, LOGGING, "-cp", jars, "kafka.Kafka", str(properties)]

    def _write_properties(self, authority: Authority) -> Path:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        path = self.folder / "server.properties"
        path.write_text(
            PROPERTIES.format(
                port=self.port,
                route=self.route or self.address,
                number=self.number,
                controller=self.controller_port,
                voters=",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(self._voters, 1)),
                copies=len(self._voters),
                least=least_in_sync(len(self._voters)),
                keystore=authority.issue_broker().resolve(),
                authority=(authority.folder / "ca.pem").resolve(),
                users=";".join(["User:CN=broker", *(f"User:CN=service/{name}" for name in SERVICES)]),
                data=(self.folder / "data").resolve(),
            )
        )
        return path

    @property
    def _voters(self) -> Sequence[int]:
        return self.controllers or [self.controller_port]

    def cluster_id(self) -> str:
        """Of the cluster that it belongs to, once it is prepared."""
        lines = (self.folder / "data" / "meta.properties").read_text().splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith("cluster.id="))

    def _format(self, java: str, jars: str, properties: Path) -> None:
        # With a zero bit in front: an id that began with "-" would be taken for an option.
        cluster = self.cluster or base64.urlsafe_b64encode((uuid.uuid4().int >> 1).to_bytes(16)).decode().rstrip("=")
        tool = [java, *archive_options(java, jars), LOGGING, "-cp", jars, "kafka.tools.StorageTool"]
        command = [*tool, "format", "-t", cluster, "-c", str(properties)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            raise MeshError(f"Kafka's data directory {self.folder} cannot be formatted: {lines[-1]}")


def least_in_sync(brokers: int) -> int:
    """How many must have a record before it counts: of three all but one."""
    return max(1, brokers - 1)


def access(address: str, pki: Path, service: str) -> KafkaAccess:
    """How a service of the mesh reaches the broker."""
    certificate = pki / "service" / f"{service}.pem"
    return KafkaAccess(address, pki / "ca.pem", certificate)
