"""One process of each subsystem on SQLite, and one broker: what is broken, in which order."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, cycle, islice
from random import Random

from faults.injections.kafka import (
    amid_applications,
    disk_full,
    kafka_down,
    kafka_hangs,
    log_dir_offline,
    offsets_wiped,
    restored,
    segment_cut,
    topic_recreated,
    topic_recreated_behind,
)
from faults.injections.poison import amid_poison, poisoned
from faults.injections.processes import (
    POINTS,
    beside,
    crashed,
    crashed_at_once,
    killed,
    mesh_killed,
    one_after_another,
    stopped,
)
from faults.injections.stage import Fault, Scene
from faults.mesh import PROCESSES, SUBSYSTEMS, single

ALONE = "timer-due"
ACCEPTED_AMID_KILLS = 60.0
"""Seconds within which intake takes an application in though it is killed again and again."""
LONG = "FULL"
"""Environment variable: 1 lets Kafka hang for ten minutes as well."""


QUICK_KAFKA = 1
"""Of what happens to Kafka so much by chance: it is waited out."""


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
    hangs: Sequence[tuple[float, int]]
    """Seconds for which Kafka hangs, and how many kills of subsystems there are meanwhile."""
    down: float
    """Seconds without Kafka, for whatever reason."""
    age: float
    """Seconds by which the broker's restored data are older."""
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
    hangs=((5, 0),),
    down=2,
    age=3,
    stops=3,
    poison=3,
    stopped=0,
)
FULL = Amount(
    kills=60,
    at_once=2,
    measured=10,
    crashes=10,
    hangs=((10, 4), (60, 20), (180, 60)),
    down=10,
    age=60,
    stops=20,
    poison=20,
    stopped=2,
)


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """The faults in their order: chosen by chance, the same for the same seed."""
    amount = QUICK if quick else FULL
    kafka = _kafka(amount, chance)
    if quick:
        kafka = chance.sample(kafka, QUICK_KAFKA)
    faults = [*_kills(amount), *_crashes(quick, amount, chance), *kafka, *_poison(amount, chance)]
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


def _kafka(amount: Amount, chance: Random) -> Sequence[Fault]:
    hangs = [*amount.hangs, *([(600.0, 0)] if os.environ.get(LONG) == "1" else [])]
    faults = [_hang(seconds, kills, chance) for seconds, kills in hangs]
    behind = topic_recreated_behind(chance.choice(("governance", "department")))
    faults += [
        Fault(f"Kafka is down for {amount.down:.0f} s", kafka_down(amount.down), measured=True),
        Fault("Kafka's disk full", disk_full(amount.down), measured=True),
        Fault("Kafka's data directory away", log_dir_offline(amount.down), measured=True),
        Fault(f"Kafka's data of {amount.age:.0f} s ago", amid_applications(restored(amount.age)), measured=True),
        Fault("half of a partition's log cut off", amid_applications(segment_cut), measured=True),
        Fault("topic deleted and recreated", amid_applications(topic_recreated), measured=True),
        Fault("topic recreated behind a consumer", amid_applications(behind), measured=True),
        Fault("consumer offsets wiped", amid_applications(offsets_wiped), measured=True),
    ]
    return faults


def _hang(seconds: float, kills: int, chance: Random) -> Fault:
    name = f"Kafka hangs for {seconds:.0f} s"
    if not kills:
        return Fault(name, kafka_hangs(seconds), measured=True, seconds=seconds + 120)
    # In turn, so that each has begun to serve again when it is killed the next time.
    victims = one_after_another(*map(killed, islice(cycle(chance.sample(SUBSYSTEMS, len(SUBSYSTEMS))), kills)))
    injection = beside(kafka_hangs(seconds, ACCEPTED_AMID_KILLS), victims)
    return Fault(f"{name}, {kills} x kill -9 meanwhile", injection, measured=True, seconds=seconds + 300)


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
