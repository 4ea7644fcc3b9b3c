"""A request's key is the id of the first event that it causes."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "kernel_0007"
down_revision = "kernel_0006"
branch_labels = None
depends_on = None

AT_ONCE = 10_000
VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
request = sa.table("request", sa.column("key"))


def upgrade() -> None:
    """Change the keys of those that were answered before; none of the new ones holds a space."""
    connection = op.get_bind()
    old = sa.select(request.c.key).where(request.c.key.contains(" ")).order_by(request.c.key).limit(AT_ONCE)
    change = sa.update(request).where(request.c.key == sa.bindparam("old")).values(key=sa.bindparam("new"))
    last = ""
    while keys := connection.scalars(old.where(request.c.key > last)).all():
        connection.execute(change, [{"old": key, "new": _first_event(key)} for key in keys])
        last = keys[-1]


def _first_event(key: str) -> str:
    """Of the request that this stood for: caller, command and request id, with spaces between them."""
    digits = hashlib.sha256(key.encode()).hexdigest()
    beginning = key.rpartition(" ")[2][:13].lower()
    return f"{beginning}-8000-{VARIANTS[digits[3]]}{digits[4:7]}-{digits[7:19]}"
