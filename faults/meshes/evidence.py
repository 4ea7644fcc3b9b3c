"""A mesh of which a database can be copied, tampered with, and looked at in place of the true one."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import json_format

from clients.identity import Identity
from clients.subsystem import SubsystemClient
from faults.mesh import Mesh
from ronghe.operations.v1 import operations_service_pb2 as pb

DISTANCE = 70
"""Of the copy's port from the base."""
OPERATOR = Identity("operator", "local")
NOWHERE = "127.0.0.1:1"
READY_SECONDS, LOOK_SECONDS = 30.0, 0.1
COMMAND_SECONDS = 60.0
RONGHE = "from clients.cli.main import main; main()"


@dataclass(eq=False)
class EvidenceMesh(Mesh):
    """Beside it, a process serves a copy of one database, and knows nobody."""

    of: str = ""
    """The subsystem whose database was copied last; empty before that."""
    server: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """As the data directory of a mesh in which the copy stands in its original's place."""
        return self.data.parent / "evidence" / self.of

    @property
    def copy(self) -> Path:
        """The database that may be tampered with."""
        return self.folder / f"{self.of}.db"

    @property
    def untouched(self) -> Path:
        """The same, as it was."""
        return self.folder / f"{self.of}.untouched.db"

    async def serve_copy(self, name: str) -> None:
        """Copy the database while the mesh goes on, and serve the copy, in place of that of another one."""
        self.end()
        self.of = name
        self.folder.mkdir(parents=True)
        (self.folder / "pki").symlink_to(self.data.resolve() / "pki")
        await asyncio.to_thread(_copied, self.database(name), self.copy)
        address = f"127.0.0.1:{self.port_base + DISTANCE}"
        peer = {"intake": "governance", "governance": "intake"}.get(name, "")
        environment = {
            **os.environ,
            "RONGHE_ORIGIN": f"{name}-01",
            "RONGHE_DATABASE_URL": f"sqlite:///{self.copy}",
            "RONGHE_LISTEN": address,
            "RONGHE_PKI": str(self.folder / "pki"),
            "RONGHE_SECRET": str(self.folder / "pki" / "secrets" / f"{name}-01"),
            "RONGHE_PEER": NOWHERE if peer else "",
            "RONGHE_PEER_ORIGIN": f"{peer}-01" if peer else "",
            "RONGHE_KAFKA": NOWHERE,
            "RONGHE_SPANS": str(self.folder / "spans"),
            "RONGHE_LOG": str(self.folder / "log"),
            "RONGHE_STEPPED_CLOCK": "true",
            "RONGHE_HEAD_SECONDS": "3600",
        }
        python = [sys.executable, "-m"]
        command = [*python, "servers.mesh.child", *python, f"servers.{name}"]
        self.server = subprocess.Popen(command, env=environment)  # noqa: ASYNC220 - it takes a moment only
        endpoints = json.loads((self.data / "run" / "endpoints.json").read_text())
        endpoints[name] = {"address": address, "pid": self.server.pid}
        (self.folder / "run").mkdir()
        (self.folder / "run" / "endpoints.json").write_text(json.dumps(endpoints))
        await self._until_it_serves(address)
        # It has signed what it began with: from now on nothing is written into it.
        await asyncio.to_thread(_copied, self.copy, self.untouched)

    async def _until_it_serves(self, address: str) -> None:
        host, _, port = address.partition(":")
        async with asyncio.timeout(READY_SECONDS):
            while True:
                with suppress(ConnectionError):
                    _, writer = await asyncio.open_connection(host, int(port))
                    writer.close()
                    return
                await asyncio.sleep(LOOK_SECONDS)

    async def tampered(self, change: Callable[[sqlite3.Connection], None]) -> None:
        """Change the copy by plain SQL."""
        await asyncio.to_thread(_change, self.copy, change)

    async def undo(self) -> None:
        """Let the copy be as it was."""
        await asyncio.to_thread(_change, self.copy, lambda connection: _put_back(connection, self.untouched))

    async def walk(self) -> pb.VerifyJournalResponse:
        """What the copy's server says of it by itself."""
        address = f"127.0.0.1:{self.port_base + DISTANCE}"
        async with SubsystemClient(address, self.data / "pki", OPERATOR, timeout=COMMAND_SECONDS) as client:
            return await client.operations.verify_journal(pb.VerifyJournalRequest(limit=1_000_000))

    async def verify(self, data: Path, *options: str) -> Mapping[str, pb.VerifyJournalResponse]:
        """What `ronghe journal verify` prints, by subsystem."""
        command = [sys.executable, "-c", RONGHE, "--data", str(data), "journal", "verify", "--json", *options]
        run = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(COMMAND_SECONDS):
            printed, _ = await run.communicate()
        said = json.loads(printed) if printed else {}
        return {name: json_format.ParseDict(each, pb.VerifyJournalResponse()) for name, each in said.items()}

    def end(self) -> None:
        """Of the copy's server."""
        if self.server is not None:
            self.server.kill()
            self.server.wait()


@asynccontextmanager
async def evidence(folder: Path, port_base: int, environment: Mapping[str, str]) -> AsyncIterator[EvidenceMesh]:
    """One process of each subsystem, one broker, and whoever serves a copy."""
    mesh = EvidenceMesh(folder / "data", port_base, {**environment, "RONGHE_HEAD_SECONDS": "1"})
    await mesh.start()
    try:
        yield mesh
    finally:
        mesh.end()
        await mesh.stop()


def _copied(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as here,
        closing(sqlite3.connect(target)) as there,
    ):
        here.backup(there)


def _change(database: Path, change: Callable[[sqlite3.Connection], None]) -> None:
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        change(connection)


def _put_back(connection: sqlite3.Connection, untouched: Path) -> None:
    connection.execute("ATTACH ? AS untouched", (str(untouched),))
    for table in ("journal", "journal_head"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
        connection.execute(f"INSERT INTO {table} SELECT * FROM untouched.{table}")  # noqa: S608
