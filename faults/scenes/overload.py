"""35 times what can be sustained, for a minute."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from faults.injections.overload import overloaded
from faults.injections.stage import Fault, Scene
from faults.load.cast import INTAKES
from faults.load.flood import PARTY
from faults.mesh import Mesh, single

RATES: Mapping[str, float] = {"unary": 1000.0, "bulk": 2500.0}
"""Applications a second, by the way they come."""
SECONDS = 60.0
WORK_SECONDS = 420.0
"""Within which everything that was accepted has ended."""


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """In the full campaign only: what is accepted takes minutes to be done."""
    if quick:
        return []
    injection = overloaded(RATES, SECONDS, WORK_SECONDS)
    return [
        Fault(
            f"{sum(RATES.values()):,.0f} applications a second for {SECONDS:.0f} s",
            injection,
            seconds=SECONDS + WORK_SECONDS + 180,
        )
    ]


@asynccontextmanager
async def _mesh(folder: Path, port_base: int, environment: Mapping[str, str]) -> AsyncIterator[Mesh]:
    """With an intake system of the flood's own."""
    intakes = {"RONGHE_MESH_INTAKES": json.dumps({**INTAKES, PARTY: PARTY})}
    async with single(folder, port_base, {**environment, **intakes}) as mesh:
        yield mesh


SCENE = Scene("overload", _mesh, schedule, rate=4.0, alone=True)
