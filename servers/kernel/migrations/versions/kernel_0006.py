"""Signed heads of journals, and a chain whose encoding no two rows share.

Rows are chained anew. One that did not continue the old chain does not continue the new one either: from there on the
old hashes stay, and `ronghe journal verify` names that row as before.
"""

import hashlib
import struct
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "kernel_0006"
down_revision = "kernel_0005"
branch_labels = None
depends_on = None

SLICE = 5_000
NUMBERS = ("epoch", "position", "version", "recorded_at", "taken_at", "arrival")
TEXTS = ("event_id", "origin", "case_id", "stream", "causes", "type")


def upgrade() -> None:
    """Create the table of the heads' streams, and chain what is there."""
    op.create_table(
        "stream_journal",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("fold_version", sa.Integer(), nullable=False),
        sa.Column("last_event_id", sa.Text(), nullable=False),
        sa.Column("snapshot", sa.LargeBinary(), nullable=False),
    )
    op.create_index("stream_journal_case", "stream_journal", ["case_id"])
    _chain_anew(op.get_bind())


def _chain_anew(connection: sa.Connection) -> None:
    rows = sa.text("SELECT * FROM journal WHERE position > :after ORDER BY position LIMIT :limit")
    update = sa.text("UPDATE journal SET hash = :hash WHERE position = :position")
    position, old, new = 0, bytes(32), bytes(32)
    while found := connection.execute(rows, {"after": position, "limit": SLICE}).mappings().all():
        changed = []
        for row in found:
            if row["position"] != position + 1 or _before(row, old) != row["hash"]:
                break
            position, old, new = row["position"], row["hash"], _now(row, new)
            changed.append({"position": position, "hash": new})
        if changed:
            connection.execute(update, changed)
        if len(changed) < len(found):
            return
    head = sa.text("UPDATE journal_head SET hash = :new WHERE position = :position AND hash = :old")
    connection.execute(head, {"new": new, "position": position, "old": old})


def _before(row: Any, previous: bytes) -> bytes:
    names = ("epoch", "position", "event_id", "origin", "case_id", "stream", "version", "causes", "type",
             "recorded_at", "taken_at", "arrival", "call")  # fmt: skip
    text = "".join(f"{row[name]}|" for name in names)
    return hashlib.sha256(previous + text.encode() + row["body_digest"]).digest()


def _now(row: Any, previous: bytes) -> bytes:
    texts = [row[name].encode() for name in TEXTS]
    call = row["call"]
    lengths = (*map(len, texts), 2**32 - 1 if call is None else len(call.encode()))
    head = struct.pack(">6q7I", *(row[name] for name in NUMBERS), *lengths)
    return hashlib.sha256(b"".join((previous, head, *texts, (call or "").encode(), row["body_digest"]))).digest()
