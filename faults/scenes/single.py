"""One process of each subsystem on SQLite, and one broker: processes die, and poison comes among the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, cycle, islice
from random import Random

from faults.injections.poison import amid_poison, poisoned
from faults.injections.processes import (
    POINTS,
    beside,
    crashed,
    crashed_at_once,
    killed,
    mesh_killed,
    stopped,
)
from faults.injections.stage import Fault, Scene
from faults.mesh import PROCESSES, SUBSYSTEMS, single
from faults.scenes import kafka

ALONE = "timer-due"
QUICK_KAFKA = 1
"""Of what happens to Kafka so much by chance."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of each."""

    kills: int
    at_once: int
    """So many processes die at one kill: any beside any other."""
    measured: int
    """Of so many kills one is waited out."""
    crashes: int
    """At each point, at least."""
    stops: float
    """Seconds for which a subsystem stands still."""
    poison: float
    """Seconds for which there is poison among the rest."""
    stopped: int
    """Subsystems that do."""


QUICK = Amount(
    kills=4,
    at_once=1,
    measured=4,
    crashes=1,
    stops=3,
    poison=3,
    stopped=0,
)
FULL = Amount(
    kills=100,
    at_once=2,
    measured=10,
    crashes=10,
    stops=20,
    poison=20,
    stopped=2,
)


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """The faults in their order: chosen by chance, the same for the same seed."""
    amount = QUICK if quick else FULL
    faults = [*_kills(amount), *_crashes(quick, amount, chance), *_poison(amount, chance)]
    if quick:
        faults += chance.sample(kafka.outages(kafka.QUICK, chance), QUICK_KAFKA)
    faults.append(Fault("the whole mesh killed", mesh_killed, measured=not quick))
    faults += _stops(amount, chance)
    chance.shuffle(faults)
    return faults


def _kills(amount: Amount) -> Sequence[Fault]:
    together = islice(cycle(combinations(PROCESSES, amount.at_once)), amount.kills)
    return [
        Fault(f"kill -9 {' and '.join(names)}", beside(*map(killed, names)), measured=number % amount.measured == 0)
        for number, names in enumerate(together)
    ]


def _crashes(quick: bool, amount: Amount, chance: Random) -> Sequence[Fault]:
    """Of a point that several subsystems pass, all die at once; in the quick one, each dies at a point of its own."""
    if quick:
        return [_round(crashes) for crashes in _rounds(chance)]
    return [
        Fault(f"crash {point}, {len(names)} at once" if len(names) > 1 else f"crash {point}", crashed_at_once(point))
        for point, names in POINTS.items()
        for _ in range(-(-amount.crashes // len(names)))
    ]


def _rounds(chance: Random) -> Sequence[Mapping[str, str]]:
    """Each point once, in few rounds: subsystem -> point."""
    found: list[dict[str, str]] = []
    for point, names in sorted(POINTS.items(), key=lambda each: len(each[1])):
        free = [(crashes, name) for crashes in found for name in names if name not in crashes]
        # While days pass, all must answer.
        free = [(crashes, name) for crashes, name in free if ALONE not in crashes.values()]
        if free:
            crashes, name = chance.choice(free)
            crashes[name] = point
        else:
            found.append({chance.choice(names): point})
    return found


def _round(crashes: Mapping[str, str]) -> Fault:
    name = ", ".join(f"{point} in {name}" for name, point in crashes.items())
    return Fault(f"crash {name}", beside(*(crashed(point, name) for name, point in crashes.items())))


def _poison(amount: Amount, chance: Random) -> Sequence[Fault]:
    name = chance.choice(("governance", "department"))
    amid = amid_poison(killed(name), amount.poison)
    return [
        Fault("poison of every kind", poisoned),
        Fault("poison in a hundredth, and a kill -9", amid, measured=True),
    ]


def _stops(amount: Amount, chance: Random) -> Sequence[Fault]:
    return [
        Fault(f"{name} stands still for {amount.stops:.0f} s", stopped(name, amount.stops), measured=True)
        for name in chance.sample(SUBSYSTEMS, amount.stopped)
    ]


SCENE = Scene("single", single, schedule)
