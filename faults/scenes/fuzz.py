"""A stranger who sends whatever he likes, beside a load that must not notice."""

from collections.abc import Sequence
from random import Random

from faults.injections.fuzzing import fuzzed
from faults.injections.stage import Fault, Scene
from faults.mesh import single

REQUESTS, QUICK_REQUESTS = 1_000_000, 20_000
HOURS = 2.0


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """One fault, a long one."""
    requests = QUICK_REQUESTS if quick else REQUESTS
    return [Fault(f"{requests:,} hostile requests", fuzzed(requests), measured=True, seconds=HOURS * 3600)]


SCENE = Scene("fuzz", single, schedule, rate=2.0, alone=True)
