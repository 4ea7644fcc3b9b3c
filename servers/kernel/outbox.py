"""How far the journal is published: rows that the relay and operators move, here in open transactions."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from sqlalchemy import Connection, delete, select

from bridge.ports import Checkpoint, Published
from servers.kernel import tables
from servers.kernel.database import write_rows
from servers.kernel.statements import Statements

RELAY = "relay"


def published(connection: Connection) -> Published:
    """Up to where everything is published, and where it lies."""
    stored = connection.scalar(select(tables.cursor.c.value).where(tables.cursor.c.name == RELAY))
    if stored is None:
        return Published()
    value = json.loads(stored)
    if "ends" not in value:  # as versions wrote it that remembered one row only, or none
        return Published(value.get("position", 0), [Checkpoint(**value)] if value else [])
    return Published(value["position"], [Checkpoint(**end) for end in value["ends"]], value["rewinds"])


def checkpoints(connection: Connection) -> Sequence[Checkpoint]:
    """Some of the published rows, newest first."""
    kept = tables.relay_checkpoint
    return [Checkpoint(**row) for row in connection.execute(select(kept).order_by(kept.c.position.desc())).mappings()]


def advance(
    connection: Connection, statements: Statements, ends: Sequence[Checkpoint], rewinds: int, *, keep: bool
) -> bool:
    """Everything up to the last of these rows is published; False where it was set back since `rewinds`."""
    before = published(connection)
    if before.rewinds != rewinds:
        return False
    last = max(ends, key=lambda end: end.position)
    known = {end.partition: end for end in (*before.ends, *ends)}
    _store(connection, statements, Published(last.position, list(known.values()), rewinds))
    if keep:
        column = tables.relay_checkpoint.c.position
        connection.execute(delete(tables.relay_checkpoint).where(column == last.position))
        connection.execute(tables.relay_checkpoint.insert().values(**asdict(last)))
    return True


def rewind(connection: Connection, statements: Statements, to: Published) -> bool:
    """Publish again from behind a position; False where it was set back since `to.rewinds`."""
    if published(connection).rewinds != to.rewinds:
        return False
    _store(connection, statements, replace(to, rewinds=to.rewinds + 1))
    connection.execute(delete(tables.relay_checkpoint).where(tables.relay_checkpoint.c.position > to.position))
    return True


def _store(connection: Connection, statements: Statements, value: Published) -> None:
    write_rows(connection, statements.upsert_cursor, [{"name": RELAY, "value": json.dumps(asdict(value))}])
