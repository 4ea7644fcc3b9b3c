"""Versions side by side, on one database and across the mesh: replicas are upgraded one after another, under load."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from faults.injections.replicas import killed_replica
from faults.injections.stage import Fault, Scene
from faults.injections.versions import NEXT, REPLICAS, link_of, link_to, mixed, upgraded
from faults.mesh import SUBSYSTEMS
from faults.meshes.replicas import ReplicatedMesh, replicated
from faults.versions import TREE, next_version

ORDER = ("intake", "department", "governance")
"""Between the first two upgrades the new speaks to the old, and the old to the new; the last has both beside it."""


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """In the full campaign only: it needs a mesh of its own, and makes the next version's stubs."""
    if quick:
        return []
    faults = []
    for name in ORDER:
        faults.append(Fault(f"{name} of two versions on one database", mixed(name), measured=True))
        faults.append(Fault("kill -9 among versions", killed_replica(chance.choice(SUBSYSTEMS)), measured=True))
        faults.append(Fault(f"{name} of the next version, beside what there is", upgraded(name), measured=True))
    return faults


@asynccontextmanager
async def _mesh(folder: Path, port_base: int, environment: Mapping[str, str]) -> AsyncIterator[ReplicatedMesh]:
    """Each replica is started from wherever its link leads."""
    await asyncio.to_thread(next_version, folder / NEXT)
    sources = {}
    for name in SUBSYSTEMS:
        for replica in range(1, REPLICAS + 1):
            link_to(folder, name, replica, TREE)
            key = name if replica == 1 else f"{name}/{replica}"
            sources[key] = str(link_of(folder, name, replica).absolute())
    variables = {**environment, "RONGHE_MESH_SOURCES": json.dumps(sources)}
    async with replicated(folder, port_base, variables, REPLICAS) as mesh:
        yield mesh


SCENE = Scene("versions", _mesh, schedule, rate=12.0)
