"""A mesh with three brokers: every record on each of them, and acknowledged by two at least."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from faults.mesh import Mesh, children, command

BROKERS = {1: "kafka", 2: "kafka-2", 3: "kafka-3"}
"""Number of a broker -> its folder."""


@dataclass(eq=False)
class ClusteredMesh(Mesh):
    """Its brokers can be told apart."""

    def broker(self, number: int) -> int:
        """Pid of the process that runs now; 0 while there is none."""
        assert self.process is not None  # noqa: S101 - start() came first
        properties = f"/{BROKERS[number]}/server.properties"
        return next((pid for pid in children(self.process.pid) if properties in command(pid)), 0)


@asynccontextmanager
async def clustered(folder: Path, port_base: int, environment: Mapping[str, str]) -> AsyncIterator[ClusteredMesh]:
    """One process of each subsystem, and three brokers."""
    mesh = ClusteredMesh(folder / "data", port_base, {**environment, "RONGHE_MESH_BROKERS": str(len(BROKERS))})
    await mesh.start()
    try:
        yield mesh
    finally:
        await mesh.stop()
