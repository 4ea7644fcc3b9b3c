"""Collaborations that organs here asked for, and tasks that they were given."""

import sqlalchemy as sa
from alembic import op

revision = "department_0002"
down_revision = "department_0001"
branch_labels = None
depends_on = "kernel_0002"


def upgrade() -> None:
    """Create the tables, and the indexes that their lists need."""
    op.create_table(
        "stream_collaboration",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("fold_version", sa.Integer(), nullable=False),
        sa.Column("last_event_id", sa.Text(), nullable=False),
        sa.Column("snapshot", sa.LargeBinary(), nullable=False),
        sa.Column("event_no", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("lead_id", sa.Text(), nullable=False),
        sa.Column("waiting_at", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
    )
    waiting = sa.text("waiting_at != ''")
    name = "stream_collaboration"
    op.create_index(f"{name}_case", name, ["case_id"])
    op.create_index(f"{name}_event_no", name, ["event_no"])
    op.create_index(f"{name}_newest", name, ["requested_at", "id"])
    op.create_index(f"{name}_of_lead", name, ["lead_id", "requested_at", "id"])
    op.create_index(f"{name}_waiting", name, ["requested_at"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_table(
        "stream_task",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("fold_version", sa.Integer(), nullable=False),
        sa.Column("last_event_id", sa.Text(), nullable=False),
        sa.Column("snapshot", sa.LargeBinary(), nullable=False),
        sa.Column("organ_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("assigned_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("stream_task_case", "stream_task", ["case_id"])
    op.create_index("stream_task_of_organ", "stream_task", ["organ_id", "assigned_at", "id"])
