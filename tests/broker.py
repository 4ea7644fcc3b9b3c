"""A real Kafka broker for tests, as `ronghe up` runs it: with certificates, and only services may read or write."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge.kafka import Admin, KafkaAccess
from clients.identity import Identity
from servers.mesh.kafka import Broker
from servers.mesh.pki import Authority
from servers.mesh.ports import free_ports

START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """A broker that answers."""

    bootstrap: str
    authority: Authority
    process: "subprocess.Popen[bytes]"

    @property
    def pki(self) -> Path:
        """Folder with ca.pem and the certificates, as subsystems and clients read it."""
        return self.authority.folder

    def access(self, identity: Identity) -> KafkaAccess:
        """How a party reaches the broker, with a certificate that is made when it has none."""
        self.authority.issue(identity)
        certificate = self.pki / identity.kind / f"{identity.id}.pem"
        return KafkaAccess(self.bootstrap, self.pki / "ca.pem", certificate)


@contextmanager
def running_broker(folder: Path) -> Iterator[RunningBroker]:
    """A broker on free ports until the end of the block; its data stay in `folder` for the next one."""
    authority = Authority(folder / "pki")
    broker = Broker(folder / "kafka", *free_ports(2))
    command = [sys.executable, "-m", "servers.mesh.child", *broker.prepare(authority)]
    with (folder / "kafka.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        running = RunningBroker(broker.address, authority, process)
        Admin(running.access(Identity("service", "governance-01"))).wait_ready(START_SECONDS)
        yield running
    finally:
        process.terminate()
        process.wait(START_SECONDS)
