"""Connections that do not speak as they should: noise, half a handshake, frames that are none."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
ANSWER_SECONDS = 0.05


async def noise(address: str, party: Path, authority: Path, chance: Random) -> None:
    """One connection, with TLS or without; returns when it is over."""
    context = _context(party, authority) if chance.random() < 0.6 else None
    host, _, port = address.rpartition(":")
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(
            host, int(port), ssl=context, server_hostname="localhost" if context else None
        )
        try:
            for part in _parts(chance):
                writer.write(part)
                await writer.drain()
                with suppress(TimeoutError):
                    async with asyncio.timeout(ANSWER_SECONDS):
                        await reader.read(4096)
        finally:
            _leave(writer, chance)


def _parts(chance: Random) -> Sequence[bytes]:
    frames = [_frame(chance) for _ in range(chance.randrange(1, 6))]
    return chance.choice(
        (
            [chance.randbytes(chance.choice((1, 50, 2_000)))],
            [PREFACE[: chance.randrange(len(PREFACE))]],
            [PREFACE, *frames],
            [PREFACE + SETTINGS, *frames],
            [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"],
            [b"\x16\x03\x01\x02\x00\x01" + chance.randbytes(100)],
        )
    )


def _frame(chance: Random) -> bytes:
    """A frame's head that may lie about its length, and a body of noise."""
    body = chance.randbytes(chance.choice((0, 1, 9, 60, 1_000)))
    length = chance.choice((len(body), len(body), 0, 2**24 - 1))
    kind, flags, stream = chance.randrange(12), chance.randrange(256), chance.choice((0, 1, 2, 3, 2**31 - 1))
    return length.to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + body


def _context(party: Path, authority: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(party, party.with_suffix(".key"))
    context.set_alpn_protocols(["h2"])
    return context


def _leave(writer: asyncio.StreamWriter, chance: Random) -> None:
    """Orderly, or by a reset in the middle."""
    connection = writer.get_extra_info("socket")
    if connection is not None and chance.random() < 0.5:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()
    else:
        writer.close()
