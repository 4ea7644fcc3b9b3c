"""Nothing is broken for half an hour, at about half the rate that this load can be sustained at on two cores."""

from collections.abc import Sequence
from random import Random

from faults.injections.soak import soaked
from faults.injections.stage import Fault, Scene
from faults.mesh import single

SECONDS, QUICK_SECONDS = 1800.0, 80.0


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """One fault that is none."""
    seconds = QUICK_SECONDS if quick else SECONDS
    return [Fault(f"{seconds:.0f} s of work", soaked(seconds, warms_up=quick), measured=True, seconds=seconds + 60)]


SCENE = Scene("soak", single, schedule, alone=True)
