"""What was set aside can be settled, operators' acts are kept, and so are facts of types that were not known."""

import sqlalchemy as sa
from alembic import op

revision = "kernel_0003"
down_revision = "kernel_0002"
branch_labels = None
depends_on = None

Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables; the index of dead letters serves those that are settled as well."""
    op.add_column("dead_letter", sa.Column("digest", sa.LargeBinary(), nullable=False, server_default=""))
    op.add_column("dead_letter", sa.Column("discarded", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.drop_index("dead_letter_open", "dead_letter")
    op.create_index("dead_letter_case", "dead_letter", ["case_id", "id"])
    op.create_table(
        "operator_act",
        sa.Column("id", Position, primary_key=True, autoincrement=True),
        sa.Column("key", sa.Text()),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("response", sa.LargeBinary()),
        sa.Column("refusal", sa.Text(), nullable=False),
        sa.UniqueConstraint("key", name="operator_act_key"),
    )
    op.create_table(
        "raw_fact",
        sa.Column("position", Position, primary_key=True, autoincrement=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("tried_at", sa.BigInteger()),
        sa.Column("met_after", sa.BigInteger()),
    )
    op.create_index("raw_fact_case", "raw_fact", ["case_id"])
