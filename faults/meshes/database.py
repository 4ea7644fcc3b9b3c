"""One process of each subsystem whose databases fail: by a wire to PostgreSQL, or by a disk that is full or slow."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from faults.disk import bring_back, can_mount, mount
from faults.mesh import Mesh, single
from faults.meshes.postgresql import postgresql
from faults.meshes.replicas import DISTANCE, ReplicatedMesh
from faults.proxy import Proxy

COMMIT = b"COMMIT"
DELAY_SECONDS = (0.05, 0.2)
"""Of each chunk, where the network is slow: a transaction is a dozen of them."""
DISK_BYTES = 256 << 20
ARRIVAL_SECONDS = 0.1
"""Until what was sent has arrived and is done."""


@dataclass(eq=False)
class Wire(Proxy):
    """Between the mesh and PostgreSQL; it can be cut just where a transaction is told to commit."""

    to_cut: int = 0
    """So many commits more."""
    arrived: int = 0
    """Commits that came there, and whose answer did not come back."""
    lost: int = 0
    """Commits that did not come there."""

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session: Any = _Session(self, reader, writer)
        await super()._carry(session, session)


@dataclass(slots=True)
class _Session:
    """What a client says, up to a commit that is cut, and what it is told until then."""

    wire: Wire
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_cut: bool = False

    async def read(self, size: int) -> bytes:
        """The next part; nothing where the connection ends."""
        if self.is_cut:
            await asyncio.sleep(ARRIVAL_SECONDS)
            return b""
        chunk = await self.reader.read(size)
        if not self.wire.to_cut or COMMIT not in chunk:
            return chunk
        self.wire.to_cut -= 1
        self.is_cut = True
        if self.wire.chance.random() < 0.5:
            self.wire.lost += 1
            return b""
        self.wire.arrived += 1
        return chunk

    def write(self, chunk: bytes) -> None:
        """An answer, which does not come back once a commit is cut."""
        if not self.is_cut:
            self.writer.write(chunk)

    async def drain(self) -> None:
        """As that of the connection."""
        await self.writer.drain()


@asynccontextmanager
async def wired(folder: Path, port_base: int, environment: Mapping[str, str]) -> AsyncIterator[ReplicatedMesh]:
    """One process of each subsystem, PostgreSQL at the end of a wire, and one broker."""
    async with postgresql(port_base + DISTANCE) as server:
        wire = Wire(("127.0.0.1", server.port), Random(port_base), delay=DELAY_SECONDS)
        listener = await asyncio.start_server(wire.accept, "127.0.0.1", 0)
        async with listener:
            wire.address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            settings = {"RONGHE_MESH_DATABASE": server.url(wire.address)}
            mesh = ReplicatedMesh(folder / "data", port_base, {**environment, **settings}, server=server, wire=wire)
            await mesh.start()
            try:
                yield mesh
            finally:
                await mesh.stop()
                wire.reset()


@asynccontextmanager
async def on_small_disk(folder: Path, port_base: int, environment: Mapping[str, str]) -> AsyncIterator[Mesh]:
    """As `single`; its databases have a small disk of their own, where one can be mounted."""
    with _small_disk(folder / "data" / "db"):
        async with single(folder, port_base, environment) as mesh:
            yield mesh


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    if not can_mount(folder):
        yield
        return
    mount(folder, DISK_BYTES)
    try:
        yield
    finally:
        bring_back(folder)
