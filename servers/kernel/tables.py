"""The kernel's tables. Times are microseconds since 1970 UTC; ids are text, so that plain SQL can read a journal."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData()

# BIGINT PRIMARY KEY would not be SQLite's fast row id.
Position = BigInteger().with_variant(Integer, "sqlite")

journal_head = Table(
    "journal_head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    comment="one row: every transaction locks it first, so position order is commit order",
)

journal = Table(
    "journal",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("case_id", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("causes", Text, nullable=False, comment="event ids, separated by commas"),
    Column("type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("body_digest", LargeBinary, nullable=False),
    Column("recorded_at", BigInteger, nullable=False, comment="at its origin"),
    Column("taken_at", BigInteger, nullable=False, comment="in this journal"),
    Column("arrival", SmallInteger, nullable=False),
    Column("call", Text, comment="traceparent of the call that caused it"),
    Column("hash", LargeBinary, nullable=False),
    UniqueConstraint("event_id", "origin", name="journal_event"),
    Index("journal_case", "case_id", "position"),
)

request = Table(
    "request",
    metadata,
    Column("key", Text, primary_key=True, comment="id of the first event it caused: derived.py"),
    Column("digest", LargeBinary, nullable=False, comment="of its body; empty where it was learned again"),
    Column("positions", Text, nullable=False, comment="of the rows it caused, separated by commas"),
    sqlite_with_rowid=False,
)

receiver = Table(
    "receiver",
    metadata,
    Column("name", Text, primary_key=True),
    Column("last_sequence", BigInteger, nullable=False),
    Column("session", Text, nullable=False, comment="the live session; empty while there is none"),
    Column("epoch", BigInteger, nullable=False, server_default="0", comment="of the receiver's own record"),
    sqlite_with_rowid=False,
)

inbox = Table(
    "inbox",
    metadata,
    Column("receiver", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("case_id", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("acknowledged_at", BigInteger),
    Column("not_before", BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
Index("inbox_case", inbox.c.case_id)
Index(
    "inbox_waiting",
    inbox.c.receiver,
    inbox.c.sequence,
    sqlite_where=inbox.c.acknowledged_at.is_(None),
    postgresql_where=inbox.c.acknowledged_at.is_(None),
)

timer = Table(
    "timer",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("case_id", Text, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Index("timer_due", "due_at"),
    sqlite_with_rowid=False,
)

# Numbers that were given out, and figures that streams add to.
counter = Table(
    "counter",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

party = Table(
    "party",
    metadata,
    Column("kind", Text, primary_key=True, comment="of the stream"),
    Column("party", Text, primary_key=True, comment="who may see it, for example center/500103"),
    Column("id", Text, primary_key=True, comment="of the stream"),
    sqlite_with_rowid=False,
)

cursor = Table(
    "cursor",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False, comment="JSON"),
    sqlite_with_rowid=False,
)

relay_checkpoint = Table(
    "relay_checkpoint",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=False),
    Column("topic_id", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("event_id", Text, nullable=False),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", Position, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False, comment="where it came from, as bridge.ports has it"),
    Column("case_id", Text, nullable=False, comment="empty where it could not be read"),
    Column("event_id", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("headers", Text, nullable=False, comment="JSON"),
    Column("body", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False, server_default="", comment="SHA-256 of the body"),
    Column("problem", Text, nullable=False, comment="why it was set aside"),
    Column("parked_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger, comment="when it was redriven or discarded"),
    Column("discarded", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("source", name="dead_letter_source"),
    Index("dead_letter_case", "case_id", "id"),
)

# What operators did, and what was refused to them.
operator_act = Table(
    "operator_act",
    metadata,
    Column("id", Position, primary_key=True, autoincrement=True),
    Column("key", Text, comment="<caller> <command> <request id>; none where it was refused"),
    Column("caller", Text, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("command", Text, nullable=False, comment="full name of the request's message"),
    Column("request", LargeBinary, nullable=False),
    Column("response", LargeBinary, comment="none where it was refused"),
    Column("refusal", Text, nullable=False),
    UniqueConstraint("key", name="operator_act_key"),
)

# Rows of the journal whose type was not known when they came.
raw_fact = Table(
    "raw_fact",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=False),
    Column("case_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("tried_at", BigInteger, comment="when a version that knows the type met it to its streams, or could not"),
    Column("met_after", BigInteger, comment="the row behind which its streams took it in"),
    Index("raw_fact_case", "case_id"),
)


# Reads change no case: they stand beside the journal.
access = Table(
    "access",
    metadata,
    Column("id", Position, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False, comment="microseconds since 1970 UTC"),
    Column("caller", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("case_id", Text, nullable=False),
    Column("fields", Text, nullable=False, comment="names of the marked fields that were shown, separated by commas"),
    Index("access_case", "case_id", "id"),
    Index("access_caller", "caller", "id"),
)


def stream_table(kind: str, *columns: Column[Any]) -> Table:
    """The table of one kind of stream: its state, and beside it the columns that are queried."""
    name = f"stream_{kind}"
    return Table(
        name,
        MetaData(),
        Column("id", Text, primary_key=True),
        Column("case_id", Text, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("fold_version", Integer, nullable=False),
        Column("last_event_id", Text, nullable=False),
        Column("snapshot", LargeBinary, nullable=False, comment="the state's bytes"),
        *columns,
        Index(f"{name}_case", "case_id"),
    )
