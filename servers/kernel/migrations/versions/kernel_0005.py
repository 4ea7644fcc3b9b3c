"""The epoch in which a receiver acknowledged."""

import sqlalchemy as sa
from alembic import op

revision = "kernel_0005"
down_revision = "kernel_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column: nobody was restored before."""
    op.add_column("receiver", sa.Column("epoch", sa.BigInteger(), nullable=False, server_default="0"))
