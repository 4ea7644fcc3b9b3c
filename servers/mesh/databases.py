"""Where the subsystems keep their databases: a file each, or a database each on one PostgreSQL server."""

from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from servers.mesh.errors import MeshError

CONNECT_SECONDS = 5


def database_url(server: str, data: Path, name: str) -> str:
    """The subsystem's database, as an SQLAlchemy URL; `server` is empty for files."""
    if not server:
        return f"sqlite:///{data / 'db' / name}.db"
    return _parsed(server).set(database=f"ronghe_{name}").render_as_string(hide_password=False)


def make_databases(server: str, data: Path, names: Sequence[str]) -> None:
    """Make those that are not there yet. Raises MeshError when the server cannot be reached, or does not let it."""
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


def _make(url: URL, names: Sequence[str]) -> None:
    target = url.set(drivername="postgresql", database=url.database or "postgres")
    with psycopg.connect(
        target.render_as_string(hide_password=False), autocommit=True, connect_timeout=CONNECT_SECONDS
    ) as connection:
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
