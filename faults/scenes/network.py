"""A network that fails between any two parts of the mesh, partners of every bad kind, and everything more than once."""

from collections.abc import Mapping, Sequence
from random import Random

from faults.injections.callers import vanishing
from faults.injections.duplicates import (
    acknowledgements_forgotten,
    cursors_moved_back,
    records_doubled,
    republished,
    requests_copied,
)
from faults.injections.network import bad_link, bad_network
from faults.injections.readers import slow_readers
from faults.injections.receivers import KINDS, hostile
from faults.injections.stage import Fault, Scene
from faults.mesh import SUBSYSTEMS, proxied
from faults.proxy import Network

NETWORK_SECONDS, SILENCE_SECONDS = 5.0, 12.0
"""The second where nobody is told of it: until those who wait for an answer begin anew."""
HOSTILE_SECONDS, COPY_SECONDS = 6.0, 6.0
SLOW_READERS = 1000
VANISHING = 20
"""Streams whose callers vanish,"""
REQUESTS = 10
"""with so many requests on each."""
SUBSYSTEMS_OF_A_KIND = 2
"""Before so many the network is bad for all callers, in each way."""
LINKS: Mapping[str, str] = {
    "intake": "intake, for the center",
    "governance": "the center, for intake",
    "kafka": "Kafka",
}
"""Process that is called by others of the mesh -> what the report calls the way there."""


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """In the full campaign only: it needs a mesh of its own."""
    if quick:
        return []
    faults = [
        Fault(f"{network.described} before {link}", bad_link(name, network, _seconds(network)))
        for name, link in LINKS.items()
        for network in Network
        if network is not Network.WHOLE
    ]
    faults += [
        Fault(f"{network.described} before {name}, for callers", bad_network(name, network, _seconds(network)))
        for network in Network
        if network is not Network.WHOLE
        for name in chance.sample(SUBSYSTEMS, SUBSYSTEMS_OF_A_KIND)
    ]
    faults += [Fault(f"a receiver {name}", hostile([name], HOSTILE_SECONDS), measured=True) for name in KINDS]
    faults += [
        Fault(f"{SLOW_READERS:,} slow readers", slow_readers(SLOW_READERS, HOSTILE_SECONDS), measured=True),
        Fault("callers vanish in the middle", vanishing(VANISHING, REQUESTS), measured=True),
        Fault("every request several times at once", requests_copied(COPY_SECONDS), measured=True),
        Fault("every record twice", records_doubled(COPY_SECONDS), measured=True),
        Fault("cursors moved back", cursors_moved_back, measured=True),
        Fault("acknowledgements forgotten", acknowledgements_forgotten, measured=True),
        Fault("everything republished", republished, measured=True),
    ]
    chance.shuffle(faults)
    return faults


def _seconds(network: Network) -> float:
    return SILENCE_SECONDS if network in (Network.BLACK_HOLE, Network.HALF_OPEN) else NETWORK_SECONDS


SCENE = Scene("network", proxied, schedule, rate=8.0)
