"""Where the processes of a mesh listen."""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from random import SystemRandom

from servers.mesh.errors import MeshError

# Below what systems give to outgoing connections: none of those can sit on a port before its server does.
UNASSIGNED = range(20_000, 32_000)
# From one replica to the next.
DISTANCE = 10
MOST_REPLICAS = 9
MOST_BROKERS = 3
SUBSYSTEMS = ("intake", "governance", "department")
BROKER = ("kafka", "controller")


@dataclass(frozen=True, slots=True)
class Ports:
    """One for each listener."""

    intake: int
    governance: int
    department: int
    kafka: int
    controller: int
    further: Sequence[tuple[int, int, int]] = ()
    """Those of the subsystems' second replicas, third ones, and so on."""
    brokers: Sequence[tuple[int, int]] = ()
    """Of the second broker, a third one, and so on: its own, and its controller's."""

    @classmethod
    def choose(cls, base: int, replicas: int = 1, brokers: int = 1) -> "Ports":
        """Fixed distances from the base, or any free ones for 0. Raises MeshError when one is taken."""
        if base == 0:
            intake, governance, department, kafka, controller, *others = free_ports(3 * replicas + 2 * brokers)
            rest = 3 * (replicas - 1)
            return cls(intake, governance, department, kafka, controller, _rows(others[:rest]), _pairs(others[rest:]))
        further = [base + DISTANCE * replica + place for replica in range(1, replicas) for place in (1, 2, 3)]
        pairs = _pairs(range(base + 94, base + 92 + 2 * brokers))
        ports = cls(base + 1, base + 2, base + 3, base + 92, base + 93, _rows(further), pairs)
        for port in ports:
            if not _is_free(port):
                raise MeshError(f"port {port} is taken: free it, or choose other ports with --port-base")
        return ports

    def __iter__(self) -> Iterator[int]:
        yield from (getattr(self, field.name) for field in fields(self) if field.name not in ("further", "brokers"))
        yield from (port for row in (*self.further, *self.brokers) for port in row)

    def address(self, name: str, replica: int = 1) -> str:
        """For clients of one process."""
        if replica == 1:
            port = getattr(self, name)
        elif name in SUBSYSTEMS:
            port = self.further[replica - 2][SUBSYSTEMS.index(name)]
        else:
            port = self.brokers[replica - 2][BROKER.index(name)]
        return f"127.0.0.1:{port}"

    def addresses(self, name: str) -> str:
        """For clients: all its replicas', separated by commas."""
        replicas = 1 + len(self.further if name in SUBSYSTEMS else self.brokers)
        return ",".join(self.address(name, replica) for replica in range(1, replicas + 1))


def _rows(ports: Sequence[int]) -> Sequence[tuple[int, int, int]]:
    return tuple(zip(ports[::3], ports[1::3], ports[2::3], strict=True))


def _pairs(ports: Sequence[int]) -> Sequence[tuple[int, int]]:
    return tuple(zip(ports[::2], ports[1::2], strict=True))


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
