"""SQLite's checkpoints, beside the writer: no commit waits until its log is copied into the file."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import structlog

LOOK_SECONDS = 1.0
BUSY_SECONDS = 5.0
# A log that is never idle is never begun anew by itself: beyond this the writer is held for a moment.
LONGEST_BYTES = 64 * 1024 * 1024

log = structlog.get_logger()


class Copied(NamedTuple):
    """What https://sqlite.org/pragma.html#pragma_wal_checkpoint answers."""

    busy: int
    pages: int
    """In the log."""
    copied: int
    """Of them, into the file."""


async def checkpoints(path: str) -> None:
    """Look every second until cancelled; a database that fails is the writer's affair."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await asyncio.to_thread(checkpoint, path)
        except sqlite3.Error as error:
            log.warning("checkpoints.waiting", error=str(error))


def checkpoint(path: str) -> Copied:
    """Copy what is committed; where the log has become too long, let it begin anew. Raises sqlite3.Error."""
    there = f"{Path(path).absolute().as_uri()}?mode=rw"  # a file that is gone is not made anew
    with closing(sqlite3.connect(there, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        copied = _checkpoint(connection, "PASSIVE")
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        return _checkpoint(connection, "RESTART") if copied.pages * page_size > LONGEST_BYTES else copied


def _checkpoint(connection: sqlite3.Connection, mode: str) -> Copied:
    return Copied(*connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone())
