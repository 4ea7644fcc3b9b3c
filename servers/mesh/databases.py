"""Where the subsystems keep their databases: a file each, or a database each on one PostgreSQL server."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from clients.backoff import Backoff
from servers.mesh.epochs import epochs_file, last_epoch, remember_epoch
from servers.mesh.errors import MeshError

CONNECT_SECONDS = 5
# Its subsystem serves already, and is not held up for long: the mesh's next start asks again.
EPOCH_ATTEMPTS = 5
EPOCH = "SELECT epoch FROM journal_head"

log = structlog.get_logger()


def database_url(server: str, data: Path, name: str) -> str:
    """The subsystem's database, as an SQLAlchemy URL; `server` is empty for files."""
    if not server:
        return f"sqlite:///{_file(data, name)}"
    return _parsed(server).set(database=f"ronghe_{name}").render_as_string(hide_password=False)


def make_databases(server: str, data: Path, names: Sequence[str]) -> None:
    """Make those that are not there yet; the subsystems fill them. Raises MeshError.

    It does when one is missing that was there, and when the server cannot be reached, or does not let it.
    """
    for name in names:
        check_there(server, data, name)
    if not server:
        (data / "db").mkdir(exist_ok=True)
        return
    url = _parsed(server)
    shown = url.render_as_string(hide_password=True)
    try:
        _make(url, [f"ronghe_{name}" for name in names])
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0]
        raise MeshError(f"the databases cannot be made on {shown}: {reason}") from error


def check_there(server: str, data: Path, name: str) -> None:
    """Raises MeshError when a database was there and is none now, or is an older one: numbers would come twice.

    A server that does not answer is another matter: it is waited for.
    """
    known = last_epoch(data, name)
    found = epoch_of(server, data, name) if known else None
    if found == 0:
        raise MeshError(_lost(server, data, name, known))
    if found is not None and found < known:
        raise MeshError(_older(server, data, name, known, found))


def _lost(server: str, data: Path, name: str, known: int) -> str:
    if server:
        what = f"there is no journal in {_shown(server, name)}, and there was one, in epoch {known}"
        how = "name the right server, or put a backup back with its own tools"
    else:
        what = f"{_file(data, name)} is missing or empty, and was there, in epoch {known}"
        how = "mount its volume, or put a backup back with `ronghe restore`"
    anew = f"or name another folder with --data to begin anew ({epochs_file(data)} tells what was there)"
    return f"the database of {name} is lost: {what}; {how}, {anew}"


def _older(server: str, data: Path, name: str, known: int, found: int) -> str:
    if server:
        where = _shown(server, name)
        how = f"begin a new epoch in it with `python -m servers.mesh.backup --data {data} epoch {name} URL`"
    else:
        where = str(_file(data, name))
        how = "put the backup back with `ronghe restore`"
    return f"the database of {name} is an older one: {where} is in epoch {found}, and {known} was begun already; {how}"


async def note_epoch(server: str, data: Path, name: str) -> None:
    """Remember the epoch of a database that is there from now on. Where that cannot be told, what was known stays."""
    backoff = Backoff()
    while backoff.attempts < EPOCH_ATTEMPTS:
        epoch = await asyncio.to_thread(epoch_of, server, data, name)
        if epoch:
            remember_epoch(data, name, epoch)
            return
        await backoff.wait()
    log.error("mesh.epoch_unknown", subsystem=name)


def epoch_of(server: str, data: Path, name: str) -> int | None:
    """Of the journal in a subsystem's database; 0 where there is none, None where that cannot be told."""
    if not server:
        return _epoch_in_file(_file(data, name))
    try:
        return _epoch_on_server(_parsed(server), f"ronghe_{name}")
    except psycopg.Error:
        return None


def _shown(server: str, name: str) -> str:
    return _parsed(server).set(database=f"ronghe_{name}").render_as_string(hide_password=True)


def _file(data: Path, name: str) -> Path:
    return data / "db" / f"{name}.db"


def _epoch_in_file(path: Path) -> int | None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'journal_head'").fetchone()
            return int(connection.execute(EPOCH).fetchone()[0]) if made else 0
    except sqlite3.Error:
        return None if path.exists() else 0


def _epoch_on_server(url: URL, database: str) -> int:
    with _connected(url) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            return 0
    with _connected(url.set(database=database)) as connection:
        if connection.execute("SELECT to_regclass('journal_head')").fetchone() == (None,):
            return 0
        row = connection.execute(EPOCH).fetchone()
        return int(row[0]) if row else 0


def _connected(url: URL) -> psycopg.Connection:
    target = url.set(drivername="postgresql", database=url.database or "postgres")
    return psycopg.connect(
        target.render_as_string(hide_password=False), autocommit=True, connect_timeout=CONNECT_SECONDS
    )


def _make(url: URL, names: Sequence[str]) -> None:
    with _connected(url) as connection:
        there = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for name in names:
            if name not in there:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _parsed(server: str) -> URL:
    try:
        url = make_url(server)
    except ArgumentError as error:
        raise MeshError("--database is no URL: write postgresql://USER:PASSWORD@HOST:PORT") from error
    if url.get_backend_name() != "postgresql":
        raise MeshError("--database names a PostgreSQL server: write postgresql://USER:PASSWORD@HOST:PORT")
    return url.set(drivername="postgresql")
