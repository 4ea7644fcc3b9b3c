"""Processes that die, stand still, or die at a named point."""

import asyncio
import json
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from faults.checker.connected import DEATH, KILLED
from faults.injections.days import days_pass, status_of
from faults.injections.migrations import is_migrated, put_back
from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.mesh import PROCESSES, SUBSYSTEMS

FUSE_SECONDS = 60.0
"""A crash point that is not passed for so long does not count."""
SERVING_SECONDS = 20.0
"""Before it dies a process is given so long to begin to serve."""

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
DAYS, TIMERS_SECONDS = 5, 3.0
AT_START = "during-migration"
MOST_PASSES = 12


def killed(name: str) -> Injection:
    """SIGKILL of a process that serves; the supervisor starts it again.

    One that does not serve in time is killed all the same: it is counted, but not as killed while serving.
    """

    async def inject(stage: Stage) -> None:
        serves = await stage.mesh.serves(name, SERVING_SECONDS)
        await _killed(stage, name)
        _count(stage, "killed", 1)
        _count(stage, "killed while serving", serves)

    return inject


async def _killed(stage: Stage, name: str) -> None:
    """Return when it runs again."""
    pid = await _signalled(stage, name, signal.SIGKILL)
    await stage.mesh.running(name, but=pid)


def _count(stage: Stage, figure: str, more: int) -> None:
    stage.figures[figure] = stage.figures.get(figure, 0) + more


def stopped(name: str, seconds: float) -> Injection:
    """A process stands still, and goes on."""

    async def inject(stage: Stage) -> None:
        await stage.mesh.serves(name, SERVING_SECONDS)
        pid = await _signalled(stage, name, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            if stage.mesh.pid(name) == pid:
                stage.mesh.signal(name, signal.SIGCONT)

    return inject


async def _signalled(stage: Stage, name: str, number: signal.Signals) -> int:
    """Gives the pid of the process that got it. Raises NotInjected where none did."""
    await stage.mesh.running(name)
    pid = stage.mesh.signal(name, number)
    if not pid:
        raise NotInjected(f"{name} had ended already: it did not get {number.name}")
    return pid


def crashed(point: str, name: str) -> Injection:
    """A process dies at a named point, at a pass that chance names: it learns of it at its start, so it dies twice."""
    return _crashed_in_migration(name) if point == AT_START else _crashed(point, name)


def _crashed_in_migration(name: str) -> Injection:
    """There is something to migrate: it dies before that is committed, and does all of it when it starts again."""

    async def inject(stage: Stage) -> None:
        database = stage.mesh.database(name)
        await stage.mesh.serves(name, SERVING_SECONDS)  # one that starts would do it before it is killed
        mark = await asyncio.to_thread(put_back, database)
        await _crashed(AT_START, name)(stage)
        await until(lambda: is_migrated(database, mark), FUSE_SECONDS, f"{name} is not migrated")

    return inject


def _crashed(point: str, name: str) -> Injection:
    async def inject(stage: Stage) -> None:
        await stage.mesh.serves(name, SERVING_SECONDS)  # one that starts would find the fuse before it is killed
        fuse = stage.crashes / f"{name}-01"
        once = point in (AT_START, "timer-due", "during-shutdown")
        fuse.write_text(f"{point}:{1 if once else stage.chance.randint(1, MOST_PASSES)}")
        passed = fuse.with_suffix(".passed")
        try:
            await _killed(stage, name)
            _count(stage, "killed to start with a crash point", 1)
            pid = stage.mesh.pid(name)
            await _lit(stage, point, name, pid)
            await until(passed.exists, FUSE_SECONDS, f"{name} does not come by {point}")
        finally:
            fuse.unlink(missing_ok=True)
            passed.unlink(missing_ok=True)
        await stage.mesh.running(name, but=pid)

    return inject


def crashed_at_once(point: str) -> Injection:
    """As above, in every subsystem that passes the point."""

    return beside(*(crashed(point, name) for name in POINTS[point]))


def scattered(seconds: float, *injections: Injection) -> Injection:
    """One after another, each at a moment that chance chooses within so many seconds, or when the one before is over.

    Between two of them there is work to be broken off: without a pause each would die when it has just started.
    """

    async def inject(stage: Stage) -> None:
        started = time.monotonic()
        for moment, injection in zip(_moments(stage.chance, seconds, len(injections)), injections, strict=True):
            await asyncio.sleep(started + moment - time.monotonic())
            await injection(stage)

    return inject


def _moments(chance: Random, seconds: float, number: int) -> Sequence[float]:
    """In their order."""
    return sorted(chance.uniform(0, seconds) for _ in range(number))


def beside(*injections: Injection) -> Injection:
    """All of them at the same time; none is left under way when another fails."""

    async def inject(stage: Stage) -> None:
        injected = (injection(stage) for injection in injections)
        for result in await asyncio.gather(*injected, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    return inject


@contextmanager
def nobody_dies(stage: Stage, names: Iterable[str] = PROCESSES) -> Iterator[None]:
    """What one process was at the beginning of the block, no other may be at its end. Raises NotInjected."""
    pids = {name: stage.mesh.pid(name) for name in names}
    yield
    died = [name for name, pid in pids.items() if stage.mesh.pid(name) != pid]
    if died:
        raise NotInjected(f"did not live through it: {', '.join(died)}")


async def _lit(stage: Stage, point: str, name: str, pid: int) -> None:
    """What it takes for a process to come by the point."""
    if point == "timer-due":
        for _ in range(DAYS):  # whoever signs meanwhile takes the timer away
            if stage.mesh.pid(name) == pid:
                await days_pass(stage, name)
                with suppress(NotInjected):
                    await until(lambda: stage.mesh.pid(name) != pid, TIMERS_SECONDS, "the timer is not due")
    elif point == "during-shutdown":
        await status_of(stage.mesh, name)
        if stage.mesh.pid(name) == pid:
            stage.mesh.signal(name, signal.SIGTERM)


async def mesh_killed(stage: Stage) -> None:
    """The supervisor and everything under it die at once; it is started again by hand."""
    stage.mesh.kill()
    _note_deaths(stage.mesh.data, SUBSYSTEMS)
    await stage.mesh.start()


def _note_deaths(data: Path, names: Iterable[str]) -> None:
    """As the supervisor does, who has died himself: for the checker, who looks for what explains a lost span."""
    at = datetime.now(UTC).isoformat()
    with (data / KILLED).open("a") as file:
        for name in names:
            file.write(json.dumps({"event": DEATH.decode(), "child": name, "timestamp": at}) + "\n")
