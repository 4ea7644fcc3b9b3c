"""A bad network."""

import asyncio

from faults.injections.stage import Injection, Stage
from faults.mesh import SUBSYSTEMS
from faults.proxy import Network


def bad_network(network: Network, seconds: float) -> Injection:
    """Between all callers and one subsystem."""

    async def inject(stage: Stage) -> None:
        proxy = stage.network[stage.chance.choice(SUBSYSTEMS)]
        proxy.become(network)
        try:
            await asyncio.sleep(seconds)
        finally:
            proxy.heal()

    return inject
