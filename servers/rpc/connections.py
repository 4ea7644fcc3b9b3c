"""The connections that a server of this process has accepted."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from stat import S_ISSOCK

DESCRIPTORS = "/dev/fd"
"""Of this process, on Linux as elsewhere."""


def hang_up(port: int) -> None:
    """Close every connection to this port, behind what was written to it.

    To its caller a call on it ends as on a server that is gone: UNAVAILABLE, which every retry policy covers.
    """
    for connection in _sockets():
        with connection, suppress(OSError):  # it has no peer, or none any more
            if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.getsockname()[1] == port:
                connection.getpeername()  # whoever listens has none
                connection.shutdown(socket.SHUT_RDWR)


def _sockets() -> Iterator[socket.socket]:
    """Under descriptors of our own: the transport's threads close and open theirs meanwhile."""
    for name in os.listdir(DESCRIPTORS):
        with suppress(OSError):  # it was closed meanwhile
            if S_ISSOCK(os.stat(int(name)).st_mode):
                yield socket.socket(fileno=os.dup(int(name)))
