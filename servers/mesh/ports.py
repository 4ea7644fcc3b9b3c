"""Where the processes of a mesh listen."""

import socket
from dataclasses import astuple, dataclass
from itertools import islice
from random import SystemRandom

from servers.mesh.errors import MeshError

# Below what systems give to outgoing connections: none of those can sit on a port before its server does.
UNASSIGNED = range(20_000, 32_000)


@dataclass(frozen=True, slots=True)
class Ports:
    """One for each listener."""

    intake: int
    governance: int
    department: int
    kafka: int
    controller: int

    @classmethod
    def choose(cls, base: int) -> "Ports":
        """Fixed distances from the base, or any free ones for 0. Raises MeshError when one is taken."""
        if base == 0:
            return cls(*free_ports(5))
        ports = cls(base + 1, base + 2, base + 3, base + 92, base + 93)
        for port in astuple(ports):
            if not _is_free(port):
                raise MeshError(f"port {port} is taken: free it, or choose other ports with --port-base")
        return ports

    def address(self, name: str) -> str:
        """For clients."""
        return f"127.0.0.1:{getattr(self, name)}"


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens now."""
    shuffled = SystemRandom().sample(UNASSIGNED, len(UNASSIGNED))
    return list(islice(filter(_is_free, shuffled), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of an earlier one that linger are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
