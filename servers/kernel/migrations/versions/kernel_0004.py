"""Who read personal data."""

import sqlalchemy as sa
from alembic import op

revision = "kernel_0004"
down_revision = "kernel_0003"
branch_labels = None
depends_on = None

Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table, and the indexes by which an auditor asks."""
    op.create_table(
        "access",
        sa.Column("id", Position, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
    )
    op.create_index("access_case", "access", ["case_id", "id"])
    op.create_index("access_caller", "access", ["caller", "id"])
