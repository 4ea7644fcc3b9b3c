"""Ports for meshes of tests."""

from contextlib import suppress

from servers.mesh.errors import MeshError
from servers.mesh.ports import Ports, free_ports


def free_base() -> int:
    """A base all of whose ports are free: other tests have meshes of their own."""
    while True:
        with suppress(MeshError):
            Ports.choose(base := free_ports(1)[0])
            return base
