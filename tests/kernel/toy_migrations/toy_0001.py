"""The toy's streams."""

import sqlalchemy as sa
from alembic import op

revision = "toy_0001"
down_revision = None
branch_labels = ("toy",)
depends_on = "kernel_0001"


def upgrade() -> None:
    for kind in ("stream_counter", "stream_shadow"):
        op.create_table(
            kind,
            sa.Column("id", sa.Text(), primary_key=True),
            sa.Column("case_id", sa.Text(), nullable=False),
            sa.Column("version", sa.BigInteger(), nullable=False),
            sa.Column("fold_version", sa.Integer(), nullable=False),
            sa.Column("last_event_id", sa.Text(), nullable=False),
            sa.Column("snapshot", sa.LargeBinary(), nullable=False),
            sa.Column("taken", sa.Integer(), nullable=False),
        )
        op.create_index(f"{kind}_case", kind, ["case_id"])
