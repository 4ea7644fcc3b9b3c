"""A subsystem's database is lost, and put back from a backup that is older."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

from clients.base import completed
from faults.checker import topic
from faults.checker.collect import access
from faults.checker.history import Event, Journal
from faults.checker.journals import SUBSYSTEMS, read
from faults.injections.days import OFFICER, opened, operator
from faults.injections.processes import SERVING_SECONDS
from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.mesh import Mesh
from faults.settling import HEAD, look
from ronghe.operations.v1 import operations_service_pb2 as pb

WORK_SECONDS = 3.0
"""Between a backup and the loss: this much is learned again."""
QUIET_SECONDS, DEATH_SECONDS = 60.0, 30.0
STILL_SECONDS = 0.3
PULLERS = {"intake": "governance", "governance": "intake"}
"""Whose inbox another subsystem pulls, and which."""
PAUSED_SECONDS = 2.0
"""Within which a bridge that is paused stands still: PauseBridge says so."""
LEAST_UNSENT, UNSENT_SECONDS = 5, 60.0
RESUMED_SECONDS = 60.0
RONGHE = Path(sys.executable).with_name("ronghe")


def lost(name: str, *, drained: bool) -> Injection:
    """It is killed and its database is gone; callers go on repeating, also what was answered since the backup.

    `drained`: not before everything that was under way had arrived, so that nothing may be missing. Else in the middle
    of its work: what then stands nowhere else, of which there must be some, is noted, and whoever had asked for it asks
    again.
    """

    async def inject(stage: Stage) -> None:
        mesh, caller = stage.mesh, stage.load.cast.caller
        backup, since = stage.folder / f"backup-{time.time_ns()}", time.monotonic()
        await ronghe(mesh, "backup", str(backup))
        await asyncio.sleep(WORK_SECONDS)
        if drained:
            async with caller.held():
                await _drain(stage)
                unsent = await _lose(stage, name)
                if unsent:
                    raise NotInjected(f"{unsent} events had not left {name}, though it was given the time")
                await _put_back(stage, name, backup, since)
        else:
            async with _held_back(stage, name):
                unsent = await _lose(stage, name)
                async with caller.held():
                    await _put_back(stage, name, backup, since)
            if not unsent:
                raise NotInjected(f"everything had left {name}, though nobody carried it away")
            _count(stage, f"events of {name} that had not left it", unsent)
        learned = _relearned(mesh, name)
        if not learned["own"] + learned["foreign"]:
            raise NotInjected(f"{name} has learned nothing again")
        for what in ("own", "foreign", "requests"):
            _count(stage, f"{what} learned again by {name}", learned[what])

    return inject


def _count(stage: Stage, figure: str, more: int) -> None:
    stage.figures[figure] = stage.figures.get(figure, 0) + more


@asynccontextmanager
async def _held_back(stage: Stage, name: str) -> AsyncIterator[None]:
    """Nobody carries its words away in this block, which begins when it has some that stand nowhere else.

    An operator has paused its relay, and whoever pulls from it: all else goes on, so there is something to say.
    """
    mesh = stage.mesh
    bridges = [] if name == "intake" else [(name, pb.BRIDGE_RELAY)]
    if name in PULLERS:
        bridges.append((PULLERS[name], pb.BRIDGE_INBOX_SOURCE))
    try:
        for subsystem, bridge in bridges:
            await _ordered(stage, subsystem, pb.PauseBridgeRequest(bridge=bridge))
        await asyncio.sleep(PAUSED_SECONDS)
        position, _ = (await asyncio.to_thread(look, mesh.source(name), name)).head
        said = f"{LEAST_UNSENT} events of {name}"
        await until(lambda: _said_since(mesh.database(name), name, position) >= LEAST_UNSENT, UNSENT_SECONDS, said)
        yield
    finally:
        with suppress(TimeoutError):  # nobody answers where the mesh was not put back
            async with asyncio.timeout(RESUMED_SECONDS):
                for subsystem, bridge in bridges:
                    await _ordered(stage, subsystem, pb.ResumeBridgeRequest(bridge=bridge))


async def _ordered(stage: Stage, name: str, order: pb.PauseBridgeRequest | pb.ResumeBridgeRequest) -> None:
    order.actor.CopyFrom(OFFICER)
    order.reason = "演练"
    async with operator(stage.mesh, name) as client:
        pauses = isinstance(order, pb.PauseBridgeRequest)
        call: Any = client.operations.pause_bridge if pauses else client.operations.resume_bridge
        await stage.load.cast.caller.repeated(call, completed(order))


def _said_since(database: Path, name: str, position: int) -> int:
    """Its own events behind this row, but for signed heads."""
    statement = "SELECT count(*) FROM journal WHERE position > ? AND origin LIKE ? AND type <> ?"
    with closing(opened(database)) as connection:
        return int(connection.execute(statement, (position, f"{name}-%", HEAD)).fetchone()[0])


async def _drain(stage: Stage) -> None:
    """Until every request is answered, and everything has arrived."""
    caller, end = stage.load.cast.caller, time.monotonic() + QUIET_SECONDS
    await until(lambda: not caller.under_way, QUIET_SECONDS, "requests are answered")
    before: Sequence[tuple[int, bytes]] = ()
    while True:
        looks = [await asyncio.to_thread(look, stage.mesh.source(name), name) for name in SUBSYSTEMS]
        heads = [each.head for each in looks]
        if heads == before and not any(each.waits for each in looks):
            return
        if time.monotonic() > end:
            raise NotInjected(f"not at rest within {QUIET_SECONDS:.0f} s")
        before = heads
        await asyncio.sleep(STILL_SECONDS)


async def _lose(stage: Stage, name: str) -> int:
    """It is killed, its database goes away, and the mesh is stopped; gives how much stands nowhere else."""
    mesh, away = stage.mesh, stage.folder / f"lost-{len(stage.lost)}"
    async with _dead(stage, name):
        away.mkdir()
        for path in mesh.database(name).parent.glob(f"{name}.db*"):
            path.rename(away / path.name)
        published = await asyncio.to_thread(topic.read, access(mesh.data, mesh.addresses["kafka"]))
    await mesh.stop()
    journal = await asyncio.to_thread(read, away / f"{name}.db", name)
    stage.lost.append(journal)
    others = [read(mesh.source(each), each) for each in SUBSYSTEMS if each != name]
    unsent = _unsent(journal, {record.event.id for record in published}, others)
    stage.unsent += unsent
    return len(unsent)


async def _put_back(stage: Stage, name: str, backup: Path, since: float) -> None:
    """Callers go on repeating what is not answered; before anything else they repeat what was, since the backup."""
    await ronghe(stage.mesh, "restore", str(backup), "--only", name)
    async with stage.load.cast.caller.silent():
        await stage.mesh.start()
        await stage.load.cast.caller.again(since)


@asynccontextmanager
async def _dead(stage: Stage, name: str) -> AsyncIterator[None]:
    """Nobody starts it again in this block."""
    mesh = stage.mesh
    await mesh.serves(name, SERVING_SECONDS)
    mesh.pause()
    try:
        mesh.signal(name, signal.SIGKILL)
        await until(lambda: not mesh.pid(name), DEATH_SECONDS, f"{name} does not die")
        yield
    finally:
        mesh.go_on()


def _unsent(journal: Journal, published: Iterable[str], others: Iterable[Journal]) -> Sequence[Event]:
    """Its own words that stand nowhere else."""
    elsewhere = set(published).union(*(other.events for other in others))
    own = (row.event for row in journal.rows if row.event.origin.startswith(journal.subsystem))
    return [event for event in own if event.id not in elsewhere]


def _relearned(mesh: Mesh, name: str) -> dict[str, int]:
    """What it says itself."""
    with closing(opened(mesh.database(name))) as connection:
        row = connection.execute("SELECT value FROM cursor WHERE name = 'relearned'").fetchone()
    if row is None:
        raise NotInjected(f"{name} has not learned again")
    return dict(json.loads(row[0]))


async def ronghe(mesh: Mesh, *arguments: str) -> None:
    """What an operator types. Raises NotInjected."""
    command = [str(RONGHE), "--data", str(mesh.data), *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInjected(f"ronghe {arguments[0]}: {done.stderr.strip()}")
