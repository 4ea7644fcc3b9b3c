"""A bad network."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from faults.injections.stage import Injection, NotInjected, Stage
from faults.proxy import Network, Proxy


def bad_network(name: str, network: Network, seconds: float) -> Injection:
    """Between all callers and one subsystem."""

    async def inject(stage: Stage) -> None:
        with worsened(stage.network[name], network):
            await asyncio.sleep(seconds)

    return inject


def bad_link(name: str, network: Network, seconds: float) -> Injection:
    """Between this process and those of the mesh that call it."""

    async def inject(stage: Stage) -> None:
        with worsened(stage.mesh.links[name], network):
            await asyncio.sleep(seconds)

    return inject


@contextmanager
def worsened(proxy: Proxy, network: Network) -> Iterator[None]:
    """The network is bad in this block. Raises NotInjected where it could have torn something, and did not."""
    torn = proxy.torn
    proxy.become(network)
    try:
        yield
    finally:
        proxy.heal()
    if network is Network.TORN and proxy.torn == torn:
        raise NotInjected("no connection was torn")
