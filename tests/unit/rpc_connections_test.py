"""Connections that are hung up while both ends are at work."""

import asyncio
import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from servers.rpc.connections import hang_up

ANSWER = bytes(4 << 20)
PATIENCE_SECONDS = 30.0


class Line(NamedTuple):
    """A connection to a port, with both of its ends."""

    port: int
    peer: socket.socket
    server: socket.socket


@pytest.fixture
def line() -> Iterator[Line]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as peer, listener.accept()[0] as server:
            yield Line(port, peer, server)


def read_all(peer: socket.socket) -> bytes:
    return b"".join(iter(lambda: peer.recv(65536), b""))


async def until_nobody_can_connect(port: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                return
            await asyncio.sleep(0.001)


async def test_who_is_hung_up_reads_what_was_written_to_him_though_he_goes_on_sending(line: Line) -> None:
    line.server.setblocking(False)
    written = line.server.send(ANSWER)
    hanging_up = asyncio.create_task(hang_up(line.port))
    await until_nobody_can_connect(line.port)
    line.peer.sendall(b"one more call")
    read = await asyncio.to_thread(read_all, line.peer)
    line.peer.close()
    await hanging_up
    assert len(read) == written


async def test_it_lasts_until_the_peers_have_hung_up(line: Line) -> None:
    hanging_up = asyncio.create_task(hang_up(line.port))
    assert await asyncio.to_thread(read_all, line.peer) == b""
    assert not hanging_up.done()
    line.peer.close()
    await hanging_up


async def test_nobody_waits_for_a_peer_that_is_silent(line: Line) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await hang_up(line.port)
    assert await asyncio.to_thread(read_all, line.peer) == b""


async def test_other_ports_are_left_alone(line: Line) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        await hang_up(other.getsockname()[1])
    line.server.sendall(b"an answer")
    assert await asyncio.to_thread(line.peer.recv, 9) == b"an answer"
    socket.create_connection(("127.0.0.1", line.port)).close()


async def test_a_process_without_a_free_descriptor_can_stop_all_the_same(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> list[str]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("servers.rpc.connections.os.listdir", refuse)
    await hang_up(line.port)
