"""A mesh on PostgreSQL, with several processes of each subsystem."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faults.mesh import COMMANDS, LOOK_SECONDS, STOP_SECONDS, SUBSYSTEMS, Mesh, accepts, children, command
from faults.meshes.postgresql import Postgresql, postgresql
from faults.proxy import Proxy

DISTANCE = 95
"""Of the server's port from the base."""
NEXT_REPLICA = 10
"""From one replica's ports to the next one's."""
REPLICAS = 3
START_SECONDS = 270.0
"""Nine processes, on two cores that others may use as well."""


@dataclass(eq=False)
class ReplicatedMesh(Mesh):
    """Its databases are on a server of its own."""

    server: Postgresql | None = None
    wire: Proxy | None = None
    """Between the mesh and the server; None where they talk directly."""
    further: Mapping[str, str] = field(default_factory=dict)
    """Subsystem -> where one more replica may serve, which the supervisor knows nothing of."""
    _added: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    """Those, by subsystem."""
    _models: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Subsystem -> the environment of the replicas that the supervisor keeps."""

    async def start(self) -> None:
        """Return when it is up; raises MeshFailed."""
        await super().start()
        self._models = {name: _environment(next(iter(self.replicas(name).values()))) for name in SUBSYSTEMS}

    def known(self) -> Mapping[str, str]:
        """With the places at which a replica may be added: who listens there, callers find out by themselves."""
        return {name: ",".join(filter(None, (each, self.further.get(name)))) for name, each in self.addresses.items()}

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
        found = {
            _environment(pid).get("RONGHE_LISTEN", ""): pid
            for pid in children(self.process.pid)
            if COMMANDS[name] in command(pid)
        }
        return {address: pid for address, pid in sorted(found.items()) if address}

    def has_more(self, name: str) -> bool:
        """Whether a replica that was added to a subsystem runs."""
        return name in self._added and self._added[name].poll() is None

    def add(self, name: str) -> int:
        """Start one more replica of a subsystem, as the supervisor starts its own ones; gives its pid."""
        own = {"RONGHE_LISTEN": self.further[name], "RONGHE_INSTANCE": f"{name}-01-added"}
        log = self.data / "log" / f"{name}-added.log"
        self._added[name] = subprocess.Popen(
            [sys.executable, "-m", "servers.mesh.child", sys.executable, "-m", f"servers.{name}"],
            env={**self._models[name], **own, "RONGHE_LOG": str(log)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self._added[name].pid

    def log(self, pid: int) -> Path:
        """What a replica writes its log to."""
        return Path(_environment(pid)["RONGHE_LOG"])

    async def serving_now(self, name: str) -> Mapping[str, int]:
        """The replicas of a subsystem that let callers in: address -> pid. One that was added is among them."""
        found = dict(self.replicas(name))
        if self.has_more(name):
            found[self.further[name]] = self._added[name].pid
        return {address: pid for address, pid in found.items() if await accepts(address)}

    async def remove_added(self) -> None:
        """Return when all that were added have ended, in good order. TimeoutError."""
        for process in self._added.values():
            process.terminate()
        async with asyncio.timeout(STOP_SECONDS):
            while any(map(self.has_more, self._added)):  # noqa: ASYNC110 - the system does not say when
                await asyncio.sleep(LOOK_SECONDS)

    async def serving(self, name: str, address: str, *, but: int = 0) -> None:
        """Return when another process than this one serves there."""
        while self.replicas(name).get(address, but) == but or not await accepts(address):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def replicated(
    folder: Path, port_base: int, environment: Mapping[str, str], replicas: int = REPLICAS
) -> AsyncIterator[ReplicatedMesh]:
    """Several processes of each subsystem, and one broker."""
    async with postgresql(port_base + DISTANCE) as server:
        settings = {"RONGHE_MESH_DATABASE": server.url(), "RONGHE_MESH_REPLICAS": str(replicas)}
        free = port_base + NEXT_REPLICA * replicas
        mesh = ReplicatedMesh(
            folder / "data",
            port_base,
            {**environment, **settings},
            server=server,
            patience=START_SECONDS,
            further={name: f"127.0.0.1:{free + place}" for place, name in enumerate(SUBSYSTEMS, 1)},
        )
        await mesh.start()
        try:
            yield mesh
        finally:
            await mesh.remove_added()
            await mesh.stop()


def _environment(pid: int) -> Mapping[str, str]:
    """What a process was started with; nothing where there is none."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(os.fsdecode(each).split("=", 1) for each in variables if b"=" in each)
