"""One broker that hangs, is down, has no room, or has older data than was acknowledged."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
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
from faults.injections.processes import beside, killed, scattered
from faults.injections.stage import Fault, Scene
from faults.mesh import SUBSYSTEMS, single

ACCEPTED_AMID_KILLS = 60.0
"""Seconds within which intake takes an application in though it is killed again and again."""
LONG = "FULL"
"""Environment variable: 1 lets Kafka hang for ten minutes as well."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of each."""

    hangs: Sequence[tuple[float, int]]
    """Seconds for which Kafka hangs, and how many kills of subsystems there are meanwhile."""
    down: float
    """Seconds without Kafka."""
    broken: float
    """Seconds without Kafka's disk."""
    age: float
    """Seconds by which the broker's restored data are older."""


QUICK = Amount(hangs=((5, 0),), down=2, broken=2, age=3)
FULL = Amount(hangs=((10, 2), (60, 6), (180, 20)), down=60, broken=10, age=60)


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """In the full campaign only: the quick one has one of them beside its kills."""
    if quick:
        return []
    faults = outages(FULL, chance)
    chance.shuffle(faults)
    return faults


def outages(amount: Amount, chance: Random) -> list[Fault]:
    """Each is waited out."""
    hangs = [*amount.hangs, *([(600.0, 0)] if os.environ.get(LONG) == "1" else [])]
    behind = topic_recreated_behind(chance.choice(("governance", "department")))
    return [
        *(_hang(seconds, kills, chance) for seconds, kills in hangs),
        Fault(f"Kafka is down for {amount.down:.0f} s", kafka_down(amount.down), measured=True),
        Fault("Kafka's disk full", disk_full(amount.broken), measured=True),
        Fault("Kafka's data directory away", log_dir_offline(amount.broken), measured=True),
        Fault(f"Kafka's data of {amount.age:.0f} s ago", amid_applications(restored(amount.age)), measured=True),
        Fault("half of a partition's log cut off", amid_applications(segment_cut), measured=True),
        Fault("topic deleted and recreated", amid_applications(topic_recreated), measured=True),
        Fault("topic recreated behind a consumer", amid_applications(behind), measured=True),
        Fault("consumer offsets wiped", amid_applications(offsets_wiped), measured=True),
    ]


def _hang(seconds: float, kills: int, chance: Random) -> Fault:
    name = f"Kafka hangs for {seconds:.0f} s"
    if not kills:
        return Fault(name, kafka_hangs(seconds), measured=True, seconds=seconds + 120)
    # In turn, so that each has begun to serve again when it is killed the next time.
    victims = islice(cycle(chance.sample(SUBSYSTEMS, len(SUBSYSTEMS))), kills)
    injection = beside(kafka_hangs(seconds, ACCEPTED_AMID_KILLS), scattered(seconds, *map(killed, victims)))
    return Fault(f"{name}, {kills} x kill -9 meanwhile", injection, measured=True, seconds=seconds + 300)


SCENE = Scene("kafka", single, schedule)
