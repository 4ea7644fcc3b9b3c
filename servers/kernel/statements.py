"""The few statements of the hot path, rendered once for the database's dialect."""

from sqlalchemy import bindparam, delete, update

from servers.kernel import tables
from servers.kernel.database import Database
from servers.kernel.subsystem import Subsystem


class Statements:
    """Texts with named parameters, for `exec_driver_sql` with a list of rows."""

    def __init__(self, database: Database, subsystem: Subsystem) -> None:
        self.insert_journal = database.insert(tables.journal)
        self.update_head = database.update(tables.journal_head, "position", "hash")
        self.insert_request = database.insert(tables.request)
        self.upsert_counter = database.upsert(tables.counter)
        self.insert_party = database.insert_new(tables.party, "kind", "party", "id")
        self.upsert_timer = database.upsert(tables.timer)
        self.upsert_cursor = database.upsert(tables.cursor)
        # An existing receiver keeps its session.
        self.upsert_receiver = database.upsert(tables.receiver, only=["last_sequence"])
        self.insert_inbox = database.insert(tables.inbox, "receiver", "sequence", "position", "case_id", "since")
        parked_columns = [
            column.name for column in tables.dead_letter.columns if column.name not in ("id", "settled_at")
        ]
        # Taken in again after a commit of unknown outcome, it is there already.
        self.insert_dead_letter = database.insert_new(tables.dead_letter, *parked_columns)
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
        self.upsert_stream = {kind: database.upsert(stream.table) for kind, stream in subsystem.streams.items()}
