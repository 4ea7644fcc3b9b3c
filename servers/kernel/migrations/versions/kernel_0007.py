"""A request's key is the id of the first event that it causes."""

import sqlalchemy as sa
from alembic import op

from servers.kernel.derived import first_event

revision = "kernel_0007"
down_revision = "kernel_0006"
branch_labels = None
depends_on = None

AT_ONCE = 10_000
request = sa.table("request", sa.column("key"))


def upgrade() -> None:
    """Change the keys of those that were answered before; none of the new ones holds a space."""
    connection = op.get_bind()
    old = sa.select(request.c.key).where(request.c.key.contains(" ")).order_by(request.c.key).limit(AT_ONCE)
    change = sa.update(request).where(request.c.key == sa.bindparam("old")).values(key=sa.bindparam("new"))
    last = ""
    while keys := connection.scalars(old.where(request.c.key > last)).all():
        connection.execute(change, [{"old": key, "new": first_event(*key.split(" "))} for key in keys])
        last = keys[-1]
