"""A database that was restored from a backup: its new epoch, and what it has to learn again before it serves."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, func, select, update

from bridge.ports import Cursor
from bridge.relearning import Lesson
from servers.kernel import tables
from servers.kernel.kernel import Kernel
from servers.kernel.units import MoveCursors

RESTORED = "restored"
RELEARNED = "relearned"

log = structlog.get_logger()


def begin_epoch(connection: Connection, at: datetime, *, after: int = 0) -> int:
    """Mark a database that was just put back; gives its epoch, which is greater than `after`.

    Whoever talked to it knows positions and sequences that it will give out again: in another epoch they are others.
    """
    epoch = max(connection.scalar(select(tables.journal_head.c.epoch)) or 0, after) + 1
    connection.execute(update(tables.journal_head).values(epoch=epoch))
    connection.execute(update(tables.receiver).values(session=""))
    value = {"epoch": epoch, "at": at.isoformat()}
    connection.execute(tables.cursor.delete().where(tables.cursor.c.name == RESTORED))
    connection.execute(tables.cursor.insert().values(name=RESTORED, value=json.dumps(value)))
    return epoch


async def relearn_if_restored(kernel: Kernel, lesson: Callable[[Kernel], Lesson]) -> None:
    """Before anybody is served."""
    if not await kernel.read(lambda connection: _stored(connection, RESTORED)):
        return
    log.info("restored.relearning", epoch=kernel.epoch)
    learned = await lesson(kernel).learn()
    requests = await kernel.read(lambda connection: _requests(connection, kernel.epoch))
    done = {"epoch": kernel.epoch, "own": learned.own, "foreign": learned.foreign, "requests": requests}
    await kernel.write(
        lambda connection: MoveCursors([Cursor(RELEARNED, done), Cursor(RESTORED, {})]).store(
            connection, kernel.writer.statements
        )
    )
    kernel.writer.originals = {}
    log.info("restored.relearned", **done)


def relearned(connection: Connection) -> dict[str, Any]:
    """What was learned again at the last restore: epoch, own, foreign, requests; empty where there was none."""
    return _stored(connection, RELEARNED)


def _requests(connection: Connection, epoch: int) -> int:
    """How many requests are known again since this epoch began: those of its rows whose bodies are not known."""
    request, journal = tables.request, tables.journal
    again = select(func.count()).select_from(request).join(journal, journal.c.event_id == request.c.key)
    return connection.scalar(again.where(request.c.digest == b"", journal.c.epoch == epoch)) or 0


def _stored(connection: Connection, name: str) -> dict[str, Any]:
    value = connection.scalar(select(tables.cursor.c.value).where(tables.cursor.c.name == name))
    return json.loads(value) if value else {}
