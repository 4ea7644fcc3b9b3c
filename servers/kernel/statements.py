"""The few statements of the hot path, rendered once for the database's dialect."""

from sqlalchemy import Table, bindparam, delete, select, update

from servers.kernel import tables
from servers.kernel.database import Database
from servers.kernel.subsystem import Subsystem


class Statements:
    """Texts with named parameters, for the driver: writes with a list of rows, reads mostly with `keys`."""

    def __init__(self, database: Database, subsystem: Subsystem) -> None:
        self.lock_head = database.render(select(tables.journal_head).with_for_update())
        self.taken_at = database.render(
            select(tables.journal.c.taken_at).where(tables.journal.c.position == bindparam("position"))
        )
        self.known_events = database.found(tables.journal, "event_id", "origin")
        self.requests = database.found(tables.request, "key", "digest", "positions")
        self.counters = database.found(tables.counter, "name", "value")
        self.receivers = database.found(tables.receiver, "name", "last_sequence", "session", "epoch")
        self.set_aside = database.found(tables.dead_letter, "case_id", "event_id", "origin", "digest", "settled_at")
        self.streams = {kind: StreamStatements(database, stream.table) for kind, stream in subsystem.streams.items()}
        self.insert_journal = database.insert(tables.journal)
        self.update_head = database.update(tables.journal_head, "position", "hash")
        self.insert_request = database.insert(tables.request)
        self.add_to_request = database.list_more(tables.request, "positions")
        self.upsert_counter = database.upsert(tables.counter)
        self.insert_party = database.insert_new(tables.party, "kind", "party", "id")
        self.upsert_timer = database.upsert(tables.timer)
        self.upsert_cursor = database.upsert(tables.cursor)
        self.upsert_receiver = database.upsert(tables.receiver)
        self.insert_inbox = database.insert(tables.inbox, "receiver", "sequence", "position", "case_id", "since")
        parked_columns = [
            column.name for column in tables.dead_letter.columns if column.name not in ("id", "settled_at", "discarded")
        ]
        # Taken in again after a commit of unknown outcome, it is there already.
        self.insert_dead_letter = database.insert_new(tables.dead_letter, *parked_columns)
        self.insert_raw_fact = database.insert(tables.raw_fact, "position", "case_id", "type")
        self.delete_timer = database.render(
            delete(tables.timer).where(
                tables.timer.c.stream == bindparam("key_stream"), tables.timer.c.name == bindparam("key_name")
            )
        )
        waiting = (
            update(tables.inbox)
            .where(tables.inbox.c.receiver == bindparam("key_receiver"))
            .where(tables.inbox.c.sequence == bindparam("key_sequence"))
            .where(tables.inbox.c.acknowledged_at.is_(None))
        )
        self.acknowledge = database.render(waiting, ["acknowledged_at"])
        self.put_off = database.render(waiting, ["not_before"])


class StreamStatements:
    """Those of one kind of stream. An update that names an indexed column writes its indexes, changed or not."""

    def __init__(self, database: Database, table: Table) -> None:
        self.indexed = sorted({column.name for index in table.indexes for column in index.columns})
        others = [column.name for column in table.columns if not column.primary_key and column.name not in self.indexed]
        stored = ("case_id", "version", "fold_version", "last_event_id", "snapshot")
        self.load = database.found(table, "id", *stored, *self.indexed)
        self.upsert = database.upsert(table)
        self.update = database.update(table, *others)
