"""A PostgreSQL server for tests: made from the installed binaries, reached by a socket, gone afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

# initdb and postgres refuse to run as root.
UNPRIVILEGED = "nobody"


def binaries() -> Path | None:
    """The newest installed server's folder; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(path) for path in [shutil.which("initdb")] if path
    ]
    return found[-1].parent if found else None


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A running server; gives the URL of its `postgres` database."""
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    # Sockets need a short path that the unprivileged user may enter.
    home = Path(tempfile.mkdtemp(prefix="ronghe-pg-"))
    if user:
        shutil.chown(home, user)
    data = home / "data"
    run = {"user": user, "group": "nogroup" if user else None, "cwd": home, "env": {"LC_ALL": "C.UTF-8"}}
    subprocess.run(
        [folder / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"], check=True, capture_output=True, **run
    )
    process = subprocess.Popen(
        [folder / "postgres", "-D", data, "-k", home, "-c", "listen_addresses=", "-c", "max_connections=200"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **run,
    )
    url = f"postgresql+psycopg://postgres@/postgres?host={home}"
    try:
        _wait(url)
        yield url
    finally:
        # At once: nobody needs its data, and it would wait for connections that are not collected, and for the disk.
        process.send_signal(signal.SIGQUIT)
        process.wait(20)
        shutil.rmtree(home, ignore_errors=True)


def new_database(url: str, name: str) -> str:
    """Make an empty database; gives its URL."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return url.replace("/postgres?", f"/{name}?")


def _wait(url: str) -> None:
    engine = create_engine(url)
    end = time.monotonic() + 20
    while True:
        try:
            with engine.connect():
                break
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    engine.dispose()
