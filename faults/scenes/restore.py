"""Each subsystem in turn loses its database, and gets it back from a backup."""

from collections.abc import Sequence
from random import Random

from faults.injections.loss import lost
from faults.injections.stage import Fault, Scene
from faults.mesh import SUBSYSTEMS, single

AMID = ("intake", "department")
"""Those that go on saying something while nobody carries it away; the center waits for what its own words lead to."""


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """In the full campaign only: each loss takes the mesh down for some seconds. One of them comes amid work."""
    if quick:
        return []
    amid = chance.choice(AMID)
    return [
        Fault(f"{name} lost in the middle of its work", lost(name, drained=False), measured=True)
        if name == amid
        else Fault(f"{name} lost, and restored", lost(name, drained=True), measured=True)
        for name in chance.sample(SUBSYSTEMS, len(SUBSYSTEMS))
    ]


SCENE = Scene("restore", single, schedule, rate=5.0)
