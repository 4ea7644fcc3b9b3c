"""Three brokers, of which one is lost, then two."""

from collections.abc import Sequence
from random import Random

from faults.injections.cluster import leader_killed, leader_stopped, two_killed, two_stopped
from faults.injections.kafka import amid_applications
from faults.injections.stage import Fault, Scene
from faults.meshes.cluster import clustered

SECONDS = 15.0


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """In the full campaign only: three brokers take a minute to start on two cores."""
    if quick:
        return []
    faults = [
        Fault("kill -9 the leader", amid_applications(leader_killed), measured=True),
        Fault("the leader stands still", leader_stopped(SECONDS), measured=True),
        Fault("two of three brokers stand still", two_stopped(SECONDS), measured=True),
        Fault("kill -9 two of three brokers", two_killed(SECONDS), measured=True),
    ]
    chance.shuffle(faults)
    return faults


SCENE = Scene("cluster", clustered, schedule, rate=8.0, alone=True)
"""Three brokers."""
