"""`python -m servers.mesh.class_archive`: has a broker write down which classes it loads, for later ones."""

import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bridge.kafka import Admin, KafkaUnavailable
from clients.identity import Identity
from servers.mesh.errors import MeshError
from servers.mesh.jars import class_path
from servers.mesh.java import class_archive, find_java
from servers.mesh.kafka import SERVICES, Broker, access
from servers.mesh.pki import Authority
from servers.mesh.ports import free_ports

START_SECONDS = 120.0
# What a JVM ends with that was told to: another one has perhaps not written all.
TERMINATED = 128 + signal.SIGTERM


def make_class_archive() -> None:
    """Make it, unless it is there. Raises MeshError, KafkaUnavailable."""
    archive = class_archive(find_java(), class_path())
    if not archive.exists():
        with TemporaryDirectory(dir=archive.parent) as folder:
            made = Path(folder) / "classes.jsa"
            _run_broker(Path(folder), f"-XX:ArchiveClassesAtExit={made}")
            # A runtime without an archive of its own classes cannot make one of others': an empty file says so.
            made.touch()
            made.replace(archive)


def _run_broker(folder: Path, option: str) -> None:
    """Until it has answered a client."""
    authority, service = Authority(folder / "pki"), SERVICES[0]
    authority.issue(Identity("service", service))
    port, controller = free_ports(2)
    broker = Broker(folder / "kafka", port, controller)
    java, *arguments = broker.prepare(authority)
    command = [java, option, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            Admin(access(broker.address, authority.folder, service)).wait_ready(START_SECONDS)
        finally:
            process.terminate()
    if process.returncode != TERMINATED:
        raise MeshError(f"it ended with {process.returncode} when it was told to end")


if __name__ == "__main__":
    try:
        make_class_archive()
    except (MeshError, KafkaUnavailable) as error:
        sys.stderr.write(f"brokers will take longer to start, for one could not be tried: {error}\n")
