"""The kernel's tables."""

import sqlalchemy as sa
from alembic import op

revision = "kernel_0001"
down_revision = None
branch_labels = ("kernel",)
depends_on = None

Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create them, and the head of an empty journal."""
    head = op.create_table(
        "journal_head",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "epoch": 1, "position": 0, "hash": bytes(32)}])
    op.create_table(
        "journal",
        sa.Column("position", Position, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("causes", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.Column("arrival", sa.SmallInteger(), nullable=False),
        sa.Column("call", sa.Text()),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("event_id", "origin", name="journal_event"),
    )
    op.create_index("journal_case", "journal", ["case_id", "position"])
    op.create_table(
        "request",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("positions", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "receiver",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "inbox",
        sa.Column("receiver", sa.Text(), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_at", sa.BigInteger()),
        sa.Column("not_before", sa.BigInteger(), nullable=False, server_default="0"),
        sqlite_with_rowid=False,
    )
    op.create_index("inbox_case", "inbox", ["case_id"])
    unacknowledged = sa.text("acknowledged_at IS NULL")
    op.create_index(
        "inbox_waiting",
        "inbox",
        ["receiver", "sequence"],
        sqlite_where=unacknowledged,
        postgresql_where=unacknowledged,
    )
    op.create_table(
        "timer",
        sa.Column("stream", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("timer_due", "timer", ["due_at"])
    op.create_table(
        "counter",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cursor",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "relay_checkpoint",
        sa.Column("position", Position, primary_key=True, autoincrement=False),
        sa.Column("topic_id", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", Position, primary_key=True, autoincrement=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("parked_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger()),
        sa.UniqueConstraint("source", name="dead_letter_source"),
    )
    unsettled = sa.text("settled_at IS NULL")
    op.create_index("dead_letter_open", "dead_letter", ["case_id"], sqlite_where=unsettled, postgresql_where=unsettled)
