"""Bounds the logs of a mesh: one that has grown is set aside, in the place of the one before."""

import asyncio
import os
import shutil
from contextlib import suppress
from pathlib import Path

MOST_BYTES = 16 * 1024 * 1024
LOOK_SECONDS = 10.0


async def bounded(folder: Path) -> None:
    """Look after all logs of the folder, until cancelled."""
    while True:
        await asyncio.to_thread(look, folder)
        await asyncio.sleep(LOOK_SECONDS)


def look(folder: Path) -> None:
    """Set aside what has grown; a disk that is too full for the copy leaves it as it is."""
    for path in folder.glob("*.log"):
        with suppress(OSError):
            if path.stat().st_size > MOST_BYTES:
                _set_aside(path)


def _set_aside(path: Path) -> None:
    """Keep it as `<name>.log.1` and begin it anew, in place: whoever writes has it open, appends, and need not know.

    Lines that are written between the two are lost.
    """
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)
