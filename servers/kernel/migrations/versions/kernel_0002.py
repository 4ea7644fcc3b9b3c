"""Who may see a stream."""

import sqlalchemy as sa
from alembic import op

revision = "kernel_0002"
down_revision = "kernel_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "party",
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("party", sa.Text(), primary_key=True),
        sa.Column("id", sa.Text(), primary_key=True),
        sqlite_with_rowid=False,
    )
