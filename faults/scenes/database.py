"""Databases that fail: PostgreSQL at the end of a wire, and SQLite's files."""

import signal
from collections.abc import Mapping, Sequence
from random import Random

from faults.injections.databases import (
    bad_wire,
    commits_cut,
    disk_full,
    exhausted,
    locked,
    refusing,
    restarted,
    slow,
    slow_disk,
    standing,
    unwritable,
)
from faults.injections.stage import Fault, Scene
from faults.meshes.database import on_small_disk, wired
from faults.proxy import Network

SECONDS, LONG_SECONDS = 12.0, 60.0
WIRE_SECONDS = 6.0
"""Where somebody is told, or something arrives."""
COMMITS = 20
WIRE: Mapping[Network, float] = {
    Network.CUT: WIRE_SECONDS,
    Network.BLACK_HOLE: SECONDS,
    Network.HALF_OPEN: SECONDS,
    Network.SLOW: WIRE_SECONDS,
    Network.TORN: WIRE_SECONDS,
}
"""How the network to PostgreSQL is for so long."""


def on_postgresql(quick: bool, chance: Random) -> Sequence[Fault]:
    """In the full campaign only: it needs a mesh of its own."""
    if quick:
        return []
    faults = [
        Fault("PostgreSQL restarted", restarted(signal.SIGINT), measured=True),
        Fault("PostgreSQL crashed", restarted(signal.SIGQUIT), measured=True),
        Fault(f"PostgreSQL away {LONG_SECONDS:.0f} s", refusing(LONG_SECONDS), measured=True),
        Fault(f"PostgreSQL away {SECONDS:.0f} s", refusing(SECONDS), measured=True),
        Fault("PostgreSQL has no connection left", exhausted(SECONDS), measured=True),
        Fault(f"PostgreSQL stands still {SECONDS:.0f} s", standing(SECONDS), measured=True),
        Fault(f"PostgreSQL on a slow disk {SECONDS:.0f} s", slow(SECONDS), measured=True),
        *(
            Fault(f"{network.described} before PostgreSQL {seconds:.0f} s", bad_wire(network, seconds), measured=True)
            for network, seconds in WIRE.items()
        ),
        *(Fault(f"{COMMITS} commits of unknown outcome", commits_cut(COMMITS), measured=True) for _ in range(3)),
    ]
    chance.shuffle(faults)
    return faults


def on_sqlite(quick: bool, chance: Random) -> Sequence[Fault]:
    """In the full campaign only."""
    if quick:
        return []
    faults = [
        Fault(f"SQLite's file locked {SECONDS:.0f} s", locked(SECONDS), measured=True),
        Fault(f"SQLite cannot write {SECONDS:.0f} s", unwritable(SECONDS), measured=True),
        Fault(f"SQLite's disk full {SECONDS:.0f} s", disk_full(SECONDS), measured=True),
        Fault(f"SQLite on a slow disk {SECONDS:.0f} s", slow_disk(SECONDS), measured=True),
    ]
    chance.shuffle(faults)
    return faults


POSTGRESQL = Scene("postgresql", wired, on_postgresql, rate=8.0)
SQLITE = Scene("sqlite", on_small_disk, on_sqlite, rate=8.0)
