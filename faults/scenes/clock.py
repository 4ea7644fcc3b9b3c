"""Time: clocks that are stepped, and deadlines that pass while a process stands still."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from faults.injections.clock import (
    FOLDER,
    step_confirmed,
    step_followed,
    step_held,
    step_outlasts_a_kill,
    suspended_over_a_deadline,
)
from faults.injections.silence import silent
from faults.injections.stage import Fault, Scene
from faults.mesh import SUBSYSTEMS, Mesh, single

HOUR, LITTLE, OVER = 3600.0, 50.0, 70.0
TIMES = 2
"""Each of the rest."""


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """In the full campaign only: it needs a mesh of its own."""
    if quick:
        return []
    faults = []
    for step in (HOUR, -HOUR, OVER, -OVER):
        faults.append(Fault(f"clock stepped {step:+.0f} s", step_held(step), measured=True))
        killed = step_outlasts_a_kill(chance.choice(SUBSYSTEMS), step)
        faults.append(Fault(f"kill -9 while the clock is stepped {step:+.0f} s", killed, measured=True))
    for _ in range(TIMES):
        faults += [
            Fault(f"clock stepped {step:+.0f} s, which is followed", step_followed(step), measured=True)
            for step in (LITTLE, -LITTLE)
        ]
        faults.append(Fault("suspended over a deadline", suspended_over_a_deadline, measured=True))
        faults.append(Fault("nobody answers, kill -9 at each timer", silent, measured=True, seconds=600))
    chance.shuffle(faults)
    # After these the journals' times stand still until the clock has passed them.
    faults += [
        Fault(f"clock stepped {step:+.0f} s, confirmed, and back", step_confirmed(step), measured=True)
        for step in (-HOUR, HOUR)
    ]
    return faults


@asynccontextmanager
async def _mesh(folder: Path, port_base: int, environment: Mapping[str, str]) -> AsyncIterator[Mesh]:
    """One whose clocks can be stepped."""
    steps = {"RONGHE_CLOCK_STEP": f"@{folder / FOLDER}"}
    async with single(folder, port_base, {**environment, **steps}) as mesh:
        yield mesh


SCENE = Scene("clock", _mesh, schedule, rate=8.0)
