"""Versions side by side: each subsystem is upgraded while the others are as they were, under load."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from faults.injections.processes import killed
from faults.injections.stage import Fault, Scene
from faults.injections.versions import NEXT, SOURCES, link_to, upgraded
from faults.mesh import SUBSYSTEMS, Mesh, single
from faults.versions import TREE, next_version

ORDER = ("intake", "department", "governance")
"""Between the first two upgrades the new speaks to the old, and the old to the new; the last has both beside it."""


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """In the full campaign only: it needs a mesh of its own, and makes the next version's stubs."""
    if quick:
        return []
    faults = []
    for name in ORDER:
        faults.append(Fault(f"{name} of the next version, beside what there is", upgraded(name), measured=True))
        other = chance.choice(SUBSYSTEMS)
        faults.append(Fault("kill -9 among versions", killed(other), measured=True))
    return faults


@asynccontextmanager
async def _mesh(folder: Path, port_base: int, environment: Mapping[str, str]) -> AsyncIterator[Mesh]:
    """Each subsystem is started from wherever its link leads."""
    await asyncio.to_thread(next_version, folder / NEXT)
    for name in SUBSYSTEMS:
        link_to(folder, name, TREE)
    sources = {name: str((folder / SOURCES / name).absolute()) for name in SUBSYSTEMS}
    async with single(folder, port_base, {**environment, "RONGHE_MESH_SOURCES": json.dumps(sources)}) as mesh:
        yield mesh


SCENE = Scene("versions", _mesh, schedule, rate=8.0)
