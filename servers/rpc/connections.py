"""The connections that a server of this process has accepted."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from stat import S_ISSOCK

import structlog

DESCRIPTORS = "/dev/fd"
"""Of this process, on Linux as elsewhere."""
# Who does not hang up as well within so long is not there any more.
PATIENCE_SECONDS = 1.0
LOOK_SECONDS = 0.01

log = structlog.get_logger()


async def hang_up(port: int) -> None:
    """Accept no more connections to this port, and close those that there are, behind what was written to them.

    To its caller a call on its way ends as on a server that is gone, which every caller has to repeat.
    """
    try:
        await asyncio.to_thread(_close_listeners, port)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await asyncio.to_thread(_half_close, port):  # noqa: ASYNC110 - nobody tells who has hung up
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        log.info("rpc.peers_stay", port=port)
    except OSError as error:  # of a process that has no descriptor left
        log.warning("rpc.connections_unknown", port=port, error=type(error).__name__)


def _close_listeners(port: int) -> None:
    """The transport closes one of its own when the server stops, which is too late for those that connect meanwhile."""
    for listener in _sockets(port, listening=True):
        with suppress(OSError):  # not every system can
            listener.shutdown(socket.SHUT_RDWR)


def _half_close(port: int) -> int:
    """Say on every connection that nothing more comes; gives how many there are.

    Not both ways: what a peer sends to a connection that does not listen is answered by a reset, and that takes from it
    what it has not read yet. The transport closes what its peer has closed.
    """
    count = 0
    for connection in _sockets(port, listening=False):
        with suppress(OSError):  # it has no peer any more, or never had one
            connection.shutdown(socket.SHUT_WR)
            count += 1
    return count


def _sockets(port: int, *, listening: bool) -> Iterator[socket.socket]:
    """Under descriptors of our own: the transport's threads close and open theirs meanwhile."""
    for name in os.listdir(DESCRIPTORS):
        with suppress(OSError):  # it was closed meanwhile
            if S_ISSOCK(os.stat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as found:
                    if _is_of(port, found) and _is_listening(found) == listening:
                        yield found


def _is_of(port: int, found: socket.socket) -> bool:
    return found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockname()[1] == port


def _is_listening(found: socket.socket) -> bool:
    return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
