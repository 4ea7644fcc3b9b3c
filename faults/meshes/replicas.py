"""A mesh on PostgreSQL, with several processes of each subsystem."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from faults.mesh import COMMANDS, LOOK_SECONDS, Mesh, children, command
from faults.meshes.postgresql import Postgresql, postgresql
from faults.proxy import Proxy

DISTANCE = 95
"""Of the server's port from the base."""
START_SECONDS = 270.0
"""Nine processes, on two cores that others may use as well."""


@dataclass(eq=False)
class ReplicatedMesh(Mesh):
    """Its databases are on a server of its own."""

    server: Postgresql | None = None
    wire: Proxy | None = None
    """Between the mesh and the server; None where they talk directly."""

    @property
    def postgresql(self) -> Postgresql:
        """The server."""
        assert self.server is not None  # noqa: S101 - set where the mesh is made
        return self.server

    def source(self, name: str) -> str:
        """A subsystem's database, past the wire."""
        return self.postgresql.url(database=f"ronghe_{name}")

    def replicas(self, name: str) -> Mapping[str, int]:
        """Of a subsystem: address -> pid of the process that runs now."""
        assert self.process is not None  # noqa: S101 - start() came first
        found = {_listen(pid): pid for pid in children(self.process.pid) if COMMANDS[name] in command(pid)}
        return {address: pid for address, pid in sorted(found.items()) if address}

    async def serving(self, name: str, address: str, *, but: int = 0) -> None:
        """Return when another process than this one serves there."""
        while self.replicas(name).get(address, but) == but or not await _accepts(address):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def replicated(folder: Path, port_base: int, environment: Mapping[str, str]) -> AsyncIterator[ReplicatedMesh]:
    """Three processes of each subsystem, and one broker."""
    async with postgresql(port_base + DISTANCE) as server:
        settings = {"RONGHE_MESH_DATABASE": server.url(), "RONGHE_MESH_REPLICAS": "3"}
        mesh = ReplicatedMesh(
            folder / "data", port_base, {**environment, **settings}, server=server, patience=START_SECONDS
        )
        await mesh.start()
        try:
            yield mesh
        finally:
            await mesh.stop()


def _listen(pid: int) -> str:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((each.partition(b"=")[2].decode() for each in variables if each.startswith(b"RONGHE_LISTEN=")), "")


async def _accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port), family=socket.AF_INET)
    except OSError:
        return False
    writer.close()
    return True
