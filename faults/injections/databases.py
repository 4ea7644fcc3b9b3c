"""What happens to databases: away, slow, full, locked, or gone just when a transaction commits."""

import asyncio
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg

from faults.disk import can_slow, filled, slowed
from faults.injections.network import worsened
from faults.injections.probes import WRITERS, Probe, probed, slower
from faults.injections.processes import nobody_dies
from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.mesh import SUBSYSTEMS
from faults.meshes.database import Wire
from faults.meshes.postgresql import ROLE, Postgresql
from faults.meshes.replicas import ReplicatedMesh
from faults.proxy import Network

PATIENCE_SECONDS = 60.0
STANDS_SECONDS, GOES_SECONDS = 0.4, 0.1
"""A slow server: of every half second it works a tenth."""
WRITES_A_SECOND = 5
"""Of a slow disk: fewer than are needed at ten cases a second and more, each a fifth of a second."""
BEFORE_SECONDS = 5.0
"""What is slow is compared with what was before, for so long,"""
SLOWER, LEAST_SECONDS = 2.0, 0.1
"""must take so many times as long, and so many seconds more: half a write on that disk, and less than half of those who
meet somebody that stands still four fifths of the time wait no longer."""
FULL_BYTES = 4096
"""No file grows beyond."""
BROKEN = ("intake", "department")
"""Whose SQLite is broken: callers write to both, and the second takes in from Kafka as well."""


def restarted(stopping: signal.Signals) -> Injection:
    """PostgreSQL is stopped, every session with it, and started again."""

    async def inject(stage: Stage) -> None:
        server = _server(stage)
        async with probed(stage, reads=False, writes=()):
            await server.stop(stopping)
            await server.start()

    return inject


def refusing(seconds: float) -> Injection:
    """PostgreSQL is away for so long."""

    async def inject(stage: Stage) -> None:
        server = _server(stage)
        await server.stop()
        try:
            async with probed(stage):
                await asyncio.sleep(seconds)
        finally:
            await server.start()

    return inject


def bad_wire(network: Network, seconds: float) -> Injection:
    """The network between the mesh and PostgreSQL is bad: so that nothing goes on, or so that something does."""
    goes_on = network in (Network.SLOW, Network.TORN)

    async def inject(stage: Stage) -> None:
        wire = _wire(stage)
        async with worsened(wire, network), probed(stage, reads=not goes_on, writes=() if goes_on else WRITERS):
            await asyncio.sleep(seconds)
        stage.figures["connections to PostgreSQL torn"] = wire.affected[Network.TORN]

    return inject


def exhausted(seconds: float) -> Injection:
    """Somebody else has every connection that the server allows; the mesh has lost its own."""

    async def inject(stage: Stage) -> None:
        server = _server(stage)
        with ExitStack() as held:
            await asyncio.to_thread(_take_all, server, held)
            async with probed(stage):
                await asyncio.sleep(seconds)

    return inject


def _take_all(server: Postgresql, held: ExitStack) -> None:
    """Ends when twice in a row the mesh had no session to be ended: one that was may have come back before us."""
    end, empty = time.monotonic() + PATIENCE_SECONDS, 0
    with server.connect() as admin:
        while empty < 2:
            if time.monotonic() > end:
                raise NotInjected(f"the mesh has a connection still, after {PATIENCE_SECONDS:.0f} s")
            with suppress(psycopg.OperationalError):
                while True:
                    held.enter_context(closing(psycopg.connect(server.url(), connect_timeout=5)))
            ended = admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND datname <> 'postgres'",
                (ROLE,),
            )
            empty = 0 if ended.rowcount else empty + 1


def standing(seconds: float) -> Injection:
    """PostgreSQL stands still with everything that it was asked: connections are there, and nobody answers."""

    async def inject(stage: Stage) -> None:
        pids = _server(stage).pids()
        _signal_all(pids, signal.SIGSTOP)
        try:
            async with probed(stage):
                await asyncio.sleep(seconds)
        finally:
            _signal_all(pids, signal.SIGCONT)

    return inject


def slow(seconds: float) -> Injection:
    """PostgreSQL works a fifth of the time, as on a disk that is."""

    async def inject(stage: Stage) -> None:
        async with probed(stage, reads=False, writes=()) as before:
            await asyncio.sleep(BEFORE_SECONDS)
        async with probed(stage, reads=False, writes=()) as meanwhile:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pids = _server(stage).pids()
                _signal_all(pids, signal.SIGSTOP)
                await asyncio.sleep(STANDS_SECONDS)
                _signal_all(pids, signal.SIGCONT)
                await asyncio.sleep(GOES_SECONDS)
        _compare(stage, before, meanwhile)

    return inject


def commits_cut(count: int) -> Injection:
    """The connection ends with the word to commit: sometimes before it arrives, sometimes after."""

    async def inject(stage: Stage) -> None:
        wire = _wire(stage)
        arrived, lost = wire.arrived, wire.lost
        wire.to_cut = count
        try:
            async with probed(stage, reads=False, writes=()):
                await until(lambda: not wire.to_cut, PATIENCE_SECONDS, "commits that were cut")
        finally:
            wire.to_cut = 0
        if wire.arrived == arrived or wire.lost == lost:
            raise NotInjected("not both of commits that arrived and of those that were lost")
        stage.figures |= {"commits cut that arrived": wire.arrived, "commits cut that were lost": wire.lost}

    return inject


def locked(seconds: float) -> Injection:
    """Somebody else writes to the files of intake and of the departments, and does not come to an end."""

    async def inject(stage: Stage) -> None:
        with ExitStack() as held:
            for name in BROKEN:
                held.enter_context(_locked(stage.mesh.database(name)))
            async with probed(stage, reads=False):
                await asyncio.sleep(seconds)

    return inject


@contextmanager
def _locked(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def slow_disk(seconds: float) -> Injection:
    """Every commit has to wait for its disk; where that cannot be slowed, somebody has each file most of the time."""

    async def inject(stage: Stage) -> None:
        disk = stage.mesh.database("intake").parent
        is_real = can_slow(disk)
        for name in SUBSYSTEMS:
            await stage.mesh.running(name)
        async with probed(stage, reads=False, writes=()) as before:
            await asyncio.sleep(BEFORE_SECONDS)
        with nobody_dies(stage, SUBSYSTEMS), ExitStack() as slow:
            async with probed(stage, reads=False, writes=()) as meanwhile:
                if is_real:
                    for name in SUBSYSTEMS:
                        slow.enter_context(slowed(disk, stage.mesh.pid(name), WRITES_A_SECOND))
                    await asyncio.sleep(seconds)
                else:
                    await asyncio.gather(*(asyncio.to_thread(_lock_often, stage, name, seconds) for name in SUBSYSTEMS))
        stage.figures["databases on a disk that was slow for real"] = len(SUBSYSTEMS) if is_real else 0
        _compare(stage, before, meanwhile)

    return inject


def _compare(stage: Stage, before: Sequence[Probe], meanwhile: Sequence[Probe]) -> None:
    """Somebody must have felt it. Raises NotInjected."""
    medians = slower(before, meanwhile, times=SLOWER, least=LEAST_SECONDS)
    stage.figures |= {f"ms of {name} to a write on a slow disk": round(1000 * each) for name, each in medians.items()}


def _lock_often(stage: Stage, name: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    with closing(sqlite3.connect(stage.mesh.database(name), timeout=10, isolation_level=None)) as connection:
        while time.monotonic() < end:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(STANDS_SECONDS)
            connection.execute("ROLLBACK")
            time.sleep(GOES_SECONDS)


def unwritable(seconds: float) -> Injection:
    """Intake and the departments cannot write to their disks: no database, no log, no spans."""

    async def inject(stage: Stage) -> None:
        with nobody_dies(stage, BROKEN), ExitStack() as limits:
            for name in BROKEN:
                limits.enter_context(_no_growth(stage.mesh.pid(name)))
            async with probed(stage, reads=False):
                await asyncio.sleep(seconds)

    return inject


def disk_full(seconds: float) -> Injection:
    """No database has room to grow: their disk is full, or as above where they have none of their own."""

    async def inject(stage: Stage) -> None:
        disk = stage.mesh.database("intake").parent
        is_real = disk.is_mount()
        with nobody_dies(stage, SUBSYSTEMS), ExitStack() as full:
            if is_real:
                full.enter_context(filled(disk))
            else:
                for name in SUBSYSTEMS:
                    full.enter_context(_no_growth(stage.mesh.pid(name)))
            # What a department has to write then may find room in its journal for minutes.
            async with probed(stage, reads=False, writes=("intake",)):
                await asyncio.sleep(seconds)
        stage.figures["databases on a disk that was full for real"] = len(SUBSYSTEMS) if is_real else 0

    return inject


@contextmanager
def _no_growth(pid: int) -> Iterator[None]:
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_BYTES, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def _server(stage: Stage) -> Postgresql:
    assert isinstance(stage.mesh, ReplicatedMesh)  # noqa: S101 - of the scene
    return stage.mesh.postgresql


def _wire(stage: Stage) -> Wire:
    assert isinstance(stage.mesh, ReplicatedMesh)  # noqa: S101 - of the scene
    assert isinstance(stage.mesh.wire, Wire)  # noqa: S101
    return stage.mesh.wire


def _signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
