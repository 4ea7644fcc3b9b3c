"""A bad network."""

import asyncio

from faults.injections.stage import Injection, Stage
from faults.mesh import SUBSYSTEMS
from faults.proxy import Network, Proxy


def bad_network(network: Network, seconds: float) -> Injection:
    """Between all callers and one subsystem."""

    async def inject(stage: Stage) -> None:
        await _worsen(stage.network[stage.chance.choice(SUBSYSTEMS)], network, seconds)

    return inject


def bad_link(name: str, network: Network, seconds: float) -> Injection:
    """Between this process and those of the mesh that call it."""

    async def inject(stage: Stage) -> None:
        await _worsen(stage.mesh.links[name], network, seconds)

    return inject


async def _worsen(proxy: Proxy, network: Network, seconds: float) -> None:
    proxy.become(network)
    try:
        await asyncio.sleep(seconds)
    finally:
        proxy.heal()
