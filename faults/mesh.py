"""The mesh under test: a child process of the campaign, with its own data directory."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from faults.proxy import Proxy, proxies

SUBSYSTEMS = ("intake", "governance", "department")
PROCESSES = (*SUBSYSTEMS, "kafka")
COMMANDS = {name: f"servers.{name}" for name in SUBSYSTEMS} | {"kafka": "kafka.Kafka"}
LINKED = {"intake": 1, "governance": 2, "kafka": 92}
"""Processes that others call -> the distance of their ports from the base."""
START_SECONDS = 90.0
STOP_SECONDS = 60.0
LOOK_SECONDS = 0.05


class MeshFailed(Exception):
    """The mesh did not start; the text is its own."""


@dataclass(eq=False)
class Mesh:
    """Starts, breaks and stops one mesh."""

    data: Path
    port_base: int
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside that of the campaign, for the next start."""
    patience: float = START_SECONDS
    """Seconds that a start may take."""
    process: "subprocess.Popen[str] | None" = None
    addresses: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Proxy] = field(default_factory=dict)
    """In front of a process, for the other processes; empty where they reach each other directly."""

    async def start(self) -> None:
        """Return when it is up; raises MeshFailed."""
        python = [sys.executable, "-m"]
        arguments = ["--data", str(self.data), "--port-base", str(self.port_base)]
        # Through `child`, so that it does not outlive the campaign.
        command = [*python, "servers.mesh.child", *python, "servers.mesh", *arguments]
        environment = {**os.environ, **self.environment}
        endpoints, end = self.data / "run" / "endpoints.json", time.monotonic() + self.patience
        endpoints.unlink(missing_ok=True)  # of a mesh that was killed
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it takes a moment only
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        while not endpoints.exists():
            if self.process.poll() is not None:
                raise MeshFailed(self.process.communicate()[1].strip())
            if time.monotonic() > end:
                await self.stop()
                raise MeshFailed(f"the mesh was not ready within {self.patience:.0f} s")
            await asyncio.sleep(LOOK_SECONDS)
        self.addresses = {name: entry["address"] for name, entry in json.loads(endpoints.read_text()).items()}

    def known(self) -> Mapping[str, str]:
        """What callers are told: where each process listens."""
        return self.addresses

    async def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        assert self.process is not None  # noqa: S101 - start() came first
        self.process.terminate()
        await asyncio.to_thread(self.process.communicate, timeout=STOP_SECONDS)
        return self.process.returncode

    def database(self, name: str) -> Path:
        """A subsystem's SQLite database."""
        return self.data / "db" / f"{name}.db"

    def source(self, name: str) -> Path | str:
        """Where the checker reads a subsystem's database: a file, or the URL of one of PostgreSQL's."""
        return self.database(name)

    def kill(self) -> None:
        """SIGKILL of the supervisor; its children die with it."""
        assert self.process is not None  # noqa: S101 - start() came first
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Let the supervisor stand still: what dies is not started again until it may go on."""
        assert self.process is not None  # noqa: S101 - start() came first
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let the supervisor go on."""
        assert self.process is not None  # noqa: S101 - start() came first
        self.process.send_signal(signal.SIGCONT)

    def pid(self, name: str) -> int:
        """Of the process that runs now; 0 while there is none."""
        assert self.process is not None  # noqa: S101 - start() came first
        return next((pid for pid in children(self.process.pid) if COMMANDS[name] in command(pid)), 0)

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal; gives the pid, 0 where there is no such process now."""
        pid = self.pid(name)
        if pid:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return 0
        return pid

    async def running(self, name: str, *, but: int = 0) -> None:
        """Return when such a process runs that is not this one."""
        while self.pid(name) in (0, but):  # noqa: ASYNC110 - the system does not say when
            await asyncio.sleep(LOOK_SECONDS)

    async def serves(self, name: str, within: float) -> bool:
        """Whether it lets callers in at every address of its, waited for so many seconds at most.

        One that stands still does as well: the system lets them in.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                for address in self.addresses[name].split(","):
                    while not await accepts(address):  # noqa: ASYNC110 - the system does not say when
                        await asyncio.sleep(LOOK_SECONDS)
                return True
        return False


@asynccontextmanager
async def single(folder: Path, port_base: int, environment: Mapping[str, str]) -> AsyncIterator[Mesh]:
    """One process of each subsystem on SQLite, and one broker."""
    mesh = Mesh(folder / "data", port_base, environment)
    await mesh.start()
    try:
        yield mesh
    finally:
        await mesh.stop()


@asynccontextmanager
async def proxied(folder: Path, port_base: int, environment: Mapping[str, str]) -> AsyncIterator[Mesh]:
    """As `single`; whatever its processes say to each other goes through proxies."""
    targets = {name: f"127.0.0.1:{port_base + distance}" for name, distance in LINKED.items()}
    async with proxies(targets, Random(port_base)) as links:
        routes = {"RONGHE_MESH_ROUTES": json.dumps({name: proxy.address for name, proxy in links.items()})}
        async with single(folder, port_base, {**environment, **routes}) as mesh:
            mesh.links = links
            yield mesh


def children(parent: int) -> list[int]:
    """The processes that this one has started, and that run."""
    try:
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []


def command(pid: int) -> str:
    """What a process was started as; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


async def accepts(address: str) -> bool:
    """Whether somebody listens there."""
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port), family=socket.AF_INET)
    except OSError:
        return False
    writer.close()
    return True
