"""Processes that die, stand still, or die at a named point."""

import asyncio
import signal
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing

from faults.injections.stage import LOOK_SECONDS, Injection, NotInjected, Stage
from faults.mesh import SUBSYSTEMS

FUSE_SECONDS = 30.0
"""A crash point that is not passed for so long does not count."""
BOOT_SECONDS = 4.0

POINTS: Mapping[str, tuple[str, ...]] = {
    "before-commit": SUBSYSTEMS,
    "after-commit": SUBSYSTEMS,
    "after-produce": ("governance", "department"),
    "after-offset": ("governance", "department"),
    "before-ack": ("intake", "governance"),
    "after-delivery": SUBSYSTEMS,
    "timer-due": ("department",),
    "during-migration": SUBSYSTEMS,
    "during-shutdown": SUBSYSTEMS,
}
"""Crash point -> the subsystems that pass it."""
AT_START = ("during-migration",)
MOST_PASSES = 12


def killed(name: str) -> Injection:
    """SIGKILL of a process; the supervisor starts it again."""

    async def inject(stage: Stage) -> None:
        await stage.mesh.running(name)
        pid = stage.mesh.signal(name, signal.SIGKILL)
        await stage.mesh.running(name, but=pid)

    return inject


def stopped(name: str, seconds: float) -> Injection:
    """A process stands still, and goes on."""

    async def inject(stage: Stage) -> None:
        await stage.mesh.running(name)
        pid = stage.mesh.signal(name, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            if stage.mesh.pid(name) == pid:
                stage.mesh.signal(name, signal.SIGCONT)

    return inject


def crashed(point: str, name: str) -> Injection:
    """A process dies at a named point, at a pass that chance names: it learns of it at its start, so it dies twice."""

    async def inject(stage: Stage) -> None:
        fuse = stage.crashes / f"{name}-01"
        passes = (
            1
            if point in AT_START or point in ("timer-due", "during-shutdown")
            else stage.chance.randint(1, MOST_PASSES)
        )
        fuse.write_text(f"{point}:{passes}")
        try:
            await killed(name)(stage)
            pid = stage.mesh.pid(name)
            await _lit(stage, point, name, pid)
            await _dead(stage, name, pid)
        finally:
            fuse.unlink()
        await stage.mesh.running(name, but=pid)

    return inject


async def _lit(stage: Stage, point: str, name: str, pid: int) -> None:
    """What it takes for a process to come by the point."""
    if point == "timer-due":
        await _make_due(stage, name)
    elif point == "during-shutdown":
        await asyncio.sleep(BOOT_SECONDS)
        if stage.mesh.pid(name) == pid:
            stage.mesh.signal(name, signal.SIGTERM)


async def _make_due(stage: Stage, name: str) -> None:
    """Days pass in no time: sign-in timers that wait are due now."""
    end = time.monotonic() + FUSE_SECONDS
    while time.monotonic() < end:
        with closing(sqlite3.connect(stage.mesh.database(name), timeout=10)) as connection, connection:
            moved = connection.execute(
                "UPDATE timer SET due_at = ? WHERE name = 'sign-in'", (time.time_ns() // 1000,)
            ).rowcount
        if moved:
            return
        await asyncio.sleep(0.2)


async def _dead(stage: Stage, name: str, pid: int) -> None:
    end = time.monotonic() + FUSE_SECONDS
    while stage.mesh.pid(name) == pid:
        if time.monotonic() > end:
            raise NotInjected(f"{name} did not come by in {FUSE_SECONDS:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)


async def mesh_killed(stage: Stage) -> None:
    """The supervisor and everything under it die at once; it is started again by hand."""
    stage.mesh.kill()
    await stage.mesh.start()
