"""One process of each subsystem on SQLite, and one broker: what is broken, in which order."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from faults.injections.kafka import offsets_wiped, topic_recreated, topic_recreated_behind
from faults.injections.network import bad_network
from faults.injections.poison import poisoned
from faults.injections.processes import POINTS, crashed, killed, mesh_killed, stopped
from faults.injections.stage import Fault, Scene
from faults.mesh import PROCESSES, SUBSYSTEMS, single
from faults.proxy import Network


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of each."""

    kills: int
    crashes: int
    kafka_stops: Sequence[float]
    stops: float
    """Seconds for which each subsystem stands still."""
    network: float
    """Seconds for which the network is bad."""
    others: int
    """Of each of the rest."""


QUICK = Amount(kills=8, crashes=1, kafka_stops=(10,), stops=5, network=3, others=1)
FULL = Amount(kills=200, crashes=10, kafka_stops=(10, 60, 180), stops=60, network=20, others=3)


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """The faults in their order: chosen by chance, the same for the same seed."""
    amount = QUICK if quick else FULL
    faults = [_kill(PROCESSES[number % len(PROCESSES)], number) for number in range(amount.kills)]
    for point, names in POINTS.items():
        for number in range(amount.crashes):
            name = names[number % len(names)] if amount.crashes > 1 else chance.choice(names)
            faults.append(Fault(f"crash {point}", crashed(point, name)))
    faults += [
        Fault(f"Kafka stands still {seconds:.0f} s", stopped("kafka", seconds), measured=True)
        for seconds in amount.kafka_stops
    ]
    for _ in range(amount.others):
        faults.append(Fault("topic deleted and recreated", topic_recreated, measured=True))
        behind = topic_recreated_behind(chance.choice(("governance", "department")))
        faults.append(Fault("topic recreated behind a consumer", behind, measured=True))
        faults.append(Fault("consumer offsets wiped", offsets_wiped, measured=True))
        faults.append(Fault("the whole mesh killed", mesh_killed, measured=True))
        faults.append(Fault("poison on the topic", poisoned, measured=True))
        faults += [
            Fault(
                f"network {network.name.lower().replace('_', ' ')}", bad_network(network, amount.network), measured=True
            )
            for network in Network
            if network is not Network.WHOLE
        ]
        name = chance.choice(SUBSYSTEMS)
        faults.append(
            Fault(f"a subsystem stands still {amount.stops:.0f} s", stopped(name, amount.stops), measured=True)
        )
    chance.shuffle(faults)
    return faults


def _kill(name: str, number: int) -> Fault:
    return Fault(f"kill -9 {name}", killed(name), measured=number % 8 < len(PROCESSES))


SCENE = Scene("single", single, schedule)
