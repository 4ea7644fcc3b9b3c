"""The cases of department."""

import sqlalchemy as sa
from alembic import op

revision = "department_0001"
down_revision = None
branch_labels = ("department",)
depends_on = "kernel_0001"


def upgrade() -> None:
    """Create the table, and the indexes that its lists need."""
    op.create_table(
        "stream_organ_case",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("fold_version", sa.Integer(), nullable=False),
        sa.Column("last_event_id", sa.Text(), nullable=False),
        sa.Column("snapshot", sa.LargeBinary(), nullable=False),
        sa.Column("case_no", sa.Text(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Integer(), nullable=False),
        sa.Column("item_code", sa.Text(), nullable=False),
        sa.Column("intake_id", sa.Text(), nullable=False),
        sa.Column("lead_id", sa.Text(), nullable=False),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("stream_organ_case_case", "stream_organ_case", ["case_id"])
    op.create_index("stream_organ_case_case_no", "stream_organ_case", ["case_no"])
    op.create_index("stream_organ_case_newest", "stream_organ_case", ["submitted_at", "case_id"])
    op.create_index("stream_organ_case_of_intake", "stream_organ_case", ["intake_id", "submitted_at", "case_id"])
    op.create_index("stream_organ_case_of_lead", "stream_organ_case", ["lead_id", "submitted_at", "case_id"])
