"""A bad network."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults.injections.stage import Injection, Stage, until
from faults.proxy import Network, Proxy

FELT_SECONDS = 20.0


def bad_network(name: str, network: Network, seconds: float) -> Injection:
    """Between all callers and one subsystem."""

    async def inject(stage: Stage) -> None:
        async with worsened(stage.network[name], network):
            await asyncio.sleep(seconds)

    return inject


def bad_link(name: str, network: Network, seconds: float) -> Injection:
    """Between this process and those of the mesh that call it."""

    async def inject(stage: Stage) -> None:
        async with worsened(stage.mesh.links[name], network):
            await asyncio.sleep(seconds)

    return inject


@asynccontextmanager
async def worsened(proxy: Proxy, network: Network) -> AsyncIterator[None]:
    """The network is bad in this block, and beyond it until somebody has felt it: callers may be rare.

    Raises NotInjected where nobody has felt it FELT_SECONDS after the block.
    """
    before = proxy.affected[network]
    proxy.become(network)
    try:
        yield
        what = f"{network.described}: nothing was affected"
        await until(lambda: proxy.affected[network] > before, FELT_SECONDS, what)
    finally:
        proxy.heal()
