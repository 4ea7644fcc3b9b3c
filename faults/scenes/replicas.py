"""Three processes of each subsystem on PostgreSQL, of which some always go, come, or stand still."""

from collections.abc import Sequence
from random import Random

from faults.injections.duplicates import requests_copied
from faults.injections.receivers import TWO_AT_ONCE, hostile
from faults.injections.replicas import (
    certificates_renewed,
    coming_and_going,
    killed_replica,
    rolling_restart,
    two_relays,
)
from faults.injections.stage import Fault, Scene
from faults.mesh import SUBSYSTEMS
from faults.meshes.replicas import replicated

GOING_SECONDS, GOING_PAUSE = 300.0, 2.0
PAUSE_SECONDS = 60.0
COPY_SECONDS, HOSTILE_SECONDS = 6.0, 10.0


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """In the full campaign only: nine processes take half a minute to start on two cores."""
    if quick:
        return []
    faults = [Fault("rolling restart of everything", rolling_restart, measured=True, seconds=600)]
    faults.append(Fault("everybody's certificate renewed", certificates_renewed, measured=True))
    faults += [Fault(f"kill -9 a replica of {name}", killed_replica(name), measured=True) for name in SUBSYSTEMS]
    faults += [
        Fault(f"two relays of {name} at once", two_relays(name), measured=True) for name in ("governance", "department")
    ]
    faults.append(
        Fault(
            f"replicas go and come every {GOING_PAUSE:.0f} s for {GOING_SECONDS:.0f} s, "
            f"one stands still {PAUSE_SECONDS:.0f} s",
            coming_and_going(GOING_SECONDS, GOING_PAUSE, chance.choice(SUBSYSTEMS), PAUSE_SECONDS),
            measured=True,
            seconds=2 * GOING_SECONDS,
        )
    )
    faults.append(Fault("every request several times at once", requests_copied(COPY_SECONDS), measured=True))
    two = hostile([TWO_AT_ONCE], HOSTILE_SECONDS)
    faults.append(Fault(f"a receiver {TWO_AT_ONCE}, at two replicas", two, measured=True))
    chance.shuffle(faults)
    return faults


SCENE = Scene("replicas", replicated, schedule, rate=4.0, alone=True)
