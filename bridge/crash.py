"""Points where a fault campaign lets a process die, named by the environment: nowhere unless it is asked for.

`RONGHE_CRASH_AT=<point>[:<nth pass>]`, or `@<folder>`: then the file there that is named as the process says it; it is
renamed to `.passed` when the process dies there.
"""

import os
import signal
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path


def crash_point(name: str) -> None:
    """Die here by SIGKILL, at the pass that was asked for."""
    point, nth, passes, file = _fuse()
    if name == point and next(passes) == nth:
        if file is not None:
            file.rename(file.with_suffix(".passed"))
        os.kill(os.getpid(), signal.SIGKILL)


@cache
def _fuse() -> tuple[str, int, Iterator[int], Path | None]:
    asked, file = os.environ.get("RONGHE_CRASH_AT", ""), None
    if asked.startswith("@"):
        file = Path(asked[1:], os.environ.get("RONGHE_INSTANCE") or os.environ.get("RONGHE_ORIGIN", ""))
        asked = file.read_text() if file.is_file() else ""
    point, _, nth = asked.strip().partition(":")
    return point, int(nth or 1), count(1), file
