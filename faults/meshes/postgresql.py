"""A PostgreSQL server of the campaign's own: made from the installed binaries, broken by signals, gone afterwards."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

UNPRIVILEGED = "nobody"
"""As whom it runs where this is root: it refuses to be root itself."""
ROLE = "ronghe"
CONNECTIONS = 100
ENVIRONMENT = {"LC_ALL": "C.UTF-8"}
LOOK_SECONDS = 0.05
START_SECONDS = 30.0


class PostgresqlMissing(Exception):
    """No server is installed, or it does not start."""


@dataclass(eq=False)
class Postgresql:
    """One server; it listens on 127.0.0.1."""

    home: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def url(self, address: str = "", database: str = "postgres") -> str:
        """For the mesh, which is let in as an ordinary role; perhaps by way of another address."""
        return f"postgresql://{ROLE}@{address or self.address}/{database}"

    async def start(self) -> None:
        """Return when it lets clients in."""
        command = [*_unprivileged(), str(binaries() / "postgres"), "-D", str(self.home / "data"), "-k", str(self.home)]
        command += ["-c", "listen_addresses=127.0.0.1", "-p", str(self.port), "-c", f"max_connections={CONNECTIONS}"]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - it takes a moment only
                command, stdout=log, stderr=log, cwd=self.home, env=ENVIRONMENT, start_new_session=True
            )
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                with self.connect():
                    return
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise PostgresqlMissing((self.home / "log").read_text()[-500:]) from error
            await asyncio.sleep(LOOK_SECONDS)

    async def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends every session at once, SIGQUIT leaves the recovery to the next start."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            await asyncio.to_thread(self.process.wait)

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[Any, ...]]":
        """As the superuser, past everything that stands between the mesh and the server."""
        return psycopg.connect(
            host=str(self.home), port=self.port, user="postgres", dbname=database, autocommit=True, connect_timeout=5
        )

    def pids(self) -> Sequence[int]:
        """The server's processes."""
        assert self.process is not None  # noqa: S101 - start() came first
        parent = self.process.pid
        found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [parent, *map(int, found)]


def binaries() -> Path:
    """The newest installed server's folder."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(path) for path in [shutil.which("initdb")] if path
    ]
    if not found:
        raise PostgresqlMissing("no PostgreSQL server is installed")
    return found[-1].parent


@asynccontextmanager
async def postgresql(port: int) -> AsyncIterator[Postgresql]:
    """A server that is up."""
    # Its socket needs a short path, which the unprivileged user may enter.
    home = Path(tempfile.mkdtemp(prefix="ronghe-pg-"))
    if os.geteuid() == 0:
        shutil.chown(home, UNPRIVILEGED)
    make = [*_unprivileged(), str(binaries() / "initdb"), "-D", str(home / "data")]
    make += ["-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"]
    await asyncio.to_thread(lambda: subprocess.run(make, check=True, capture_output=True, cwd=home, env=ENVIRONMENT))
    server = Postgresql(home, port)
    try:
        await server.start()
        with server.connect() as connection:
            connection.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB")
        yield server
    finally:
        await server.stop()
        shutil.rmtree(home, ignore_errors=True)


def _unprivileged() -> list[str]:
    """What a command begins with that shall end with the campaign, and not be root."""
    found = shutil.which("setpriv")
    if found is None:
        raise PostgresqlMissing("setpriv of util-linux is not installed")
    user = ["--reuid", UNPRIVILEGED, "--regid", "nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    return [found, *user, "--pdeathsig", "KILL"]
