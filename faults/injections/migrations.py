"""A subsystem's database is put back by one step of its schema, as an older version has left it."""

from contextlib import closing
from pathlib import Path
from uuid import uuid4

from faults.injections.days import opened
from faults.injections.stage import NotInjected

NEWEST, BEFORE = "kernel_0007", "kernel_0006"
"""The newest step changes rows only, the keys of requests: that can be undone beside a process that runs."""
REQUESTS = 12_000
"""More than it changes at once."""
POSITIONS = "1"


def put_back(database: Path) -> bytes:
    """As it was before the newest step, with requests that were answered then; gives what marks them.

    They are nobody's: those of the load stay as they are, so that their repeats find them meanwhile.
    """
    mark = uuid4().bytes
    old = [(f"organ/nobody CloseCaseRequest {uuid4()}", mark, POSITIONS) for _ in range(REQUESTS)]
    with closing(opened(database)) as connection, connection:
        connection.executemany("INSERT INTO request (key, digest, positions) VALUES (?, ?, ?)", old)
        undo = "UPDATE alembic_version SET version_num = ? WHERE version_num = ?"
        if connection.execute(undo, (BEFORE, NEWEST)).rowcount != 1:
            raise NotInjected(f"{database.name} is not at {NEWEST}: this fault knows no way back from later steps")
    return mark


def is_migrated(database: Path, mark: bytes) -> bool:
    """Whether the step was made again: each of those requests is there once, under a key of today."""
    with closing(opened(database)) as connection:
        versions = {version for (version,) in connection.execute("SELECT version_num FROM alembic_version")}
        if NEWEST not in versions or BEFORE in versions:
            return False
        changed = "SELECT count(*) FROM request WHERE digest = ? AND key NOT LIKE '% %'"
        return bool(connection.execute(changed, (mark,)).fetchone() == (REQUESTS,))
