"""A database that was restored from a backup: its new epoch, and what it has to learn again before it serves."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, select, update

from bridge.ports import Cursor
from bridge.relearning import Lesson, waited_out
from clients.backoff import Backoff
from servers.kernel import tables
from servers.kernel.background import in_background
from servers.kernel.derived import request_of
from servers.kernel.epochs import while_epoch_lasts
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
    """Before anybody is served. A database that does not answer is waited for; one that is put back again is not."""
    async with in_background(while_epoch_lasts(kernel)):
        if await waited_out(lambda: kernel.read(lambda connection: _stored(connection, RESTORED)), Backoff()):
            await _relearn(kernel, lesson(kernel))


async def _relearn(kernel: Kernel, lesson: Lesson) -> None:
    log.info("restored.relearning", epoch=kernel.epoch)
    learned = await lesson.learn()
    # A request stands under the id of the first event that it led to.
    requests = sum(request_of(event_id) == event_id for event_id in learned.own)
    done = {"epoch": kernel.epoch, "own": len(learned.own), "foreign": learned.foreign, "requests": requests}
    moved = MoveCursors([Cursor(RELEARNED, done), Cursor(RESTORED, {})])
    await waited_out(
        lambda: kernel.write(lambda connection: moved.store(connection, kernel.writer.statements)), Backoff()
    )
    kernel.writer.originals = {}
    log.info("restored.relearned", **done)


def relearned(connection: Connection) -> dict[str, Any]:
    """What was learned again at the last restore: epoch, own, foreign, requests; empty where there was none."""
    return _stored(connection, RELEARNED)


def _stored(connection: Connection, name: str) -> dict[str, Any]:
    value = connection.scalar(select(tables.cursor.c.value).where(tables.cursor.c.name == name))
    return json.loads(value) if value else {}
