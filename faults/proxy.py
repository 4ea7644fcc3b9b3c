"""A TCP proxy that can be a bad network: it cuts, swallows, delays, or lets one direction through only."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random

CHUNK = 16_384
DELAY_SECONDS = (0.5, 0.5)
"""At least and at most, of each chunk."""
TORN_SHARE = 0.05
"""Beside the first part for certain, a twentieth of what is carried: connections come about, and do not last."""
TORN_SECONDS = 0.02
"""Until the part is read: a reset overtakes what waits."""
# With these values a close is a reset: the peer learns at once, in the middle of a message.
RESET = struct.pack("ii", 1, 0)


class Network(Enum):
    """How the network is."""

    WHOLE = auto()
    CUT = auto()
    """Connections are reset, new ones too."""
    BLACK_HOLE = auto()
    """Nothing arrives, nobody is told."""
    HALF_OPEN = auto()
    """What the server says arrives, what the client says does not."""
    SLOW = auto()
    """Everything arrives later."""
    TORN = auto()
    """Connections are reset again and again, in the middle of a message of which a part has arrived."""

    @property
    def described(self) -> str:
        """For example "black hole"."""
        return self.name.lower().replace("_", " ")


@dataclass(eq=False)
class Proxy:
    """Between callers and one server."""

    target: tuple[str, int]
    chance: Random
    network: Network = Network.WHOLE
    address: str = ""
    delay: tuple[float, float] = DELAY_SECONDS
    affected: Counter[Network] = field(default_factory=Counter)
    """What was felt of each bad network: parts that were held or delayed, connections that were reset or refused."""
    _tears: bool = False
    """Nothing was torn since the network tears."""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def become(self, network: Network) -> None:
        """From now on."""
        self.network = network
        self._changed.set()
        self._changed = asyncio.Event()
        self._tears = network is Network.TORN
        if network is Network.CUT:
            self.affected[network] += len(self._writers)
            self.reset()

    def heal(self) -> None:
        """Whole again; what was swallowed is gone, so connections that lost something end."""
        lost = self.network in (Network.BLACK_HOLE, Network.HALF_OPEN)
        self.become(Network.WHOLE)
        if lost:
            self.reset()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, as the network is."""
        self._writers.add(writer)
        try:
            if self.network is Network.CUT:
                self.affected[Network.CUT] += 1
            else:
                with suppress(OSError):
                    await self._carry(reader, writer)
        finally:
            self._writers.discard(writer)
            _abort(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self.target)
        self._writers.add(back)
        ways = [
            asyncio.create_task(self._forward(reader, back, (Network.BLACK_HOLE, Network.HALF_OPEN))),
            asyncio.create_task(self._forward(there, writer, (Network.BLACK_HOLE,))),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._writers.discard(back)
            _abort(back)

    async def _forward(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, swallows: tuple[Network, ...]
    ) -> None:
        while chunk := await source.read(CHUNK):
            if self.network is Network.SLOW:
                self.affected[Network.SLOW] += 1
                await asyncio.sleep(self.chance.uniform(*self.delay))
            while self.network in swallows:
                self.affected[self.network] += 1
                await self._changed.wait()
            if self._is_torn(chunk):
                sink.write(chunk[: len(chunk) // 2])
                await asyncio.sleep(TORN_SECONDS)
                self.affected[Network.TORN] += 1
                return
            sink.write(chunk)
            await sink.drain()

    def _is_torn(self, chunk: bytes) -> bool:
        """By chance, but for the first that can be."""
        if self.network is not Network.TORN or len(chunk) < 2:
            return False
        is_first, self._tears = self._tears, False
        return is_first or self.chance.random() < TORN_SHARE

    def reset(self) -> None:
        """End every connection, without a word."""
        for writer in self._writers:
            _abort(writer)


def _abort(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


@asynccontextmanager
async def proxies(addresses: Mapping[str, str], chance: Random) -> AsyncIterator[Mapping[str, Proxy]]:
    """One for each of these servers, on ports of their own."""
    async with AsyncExitStack() as stack:
        found = {}
        for name, address in addresses.items():
            host, _, port = address.rpartition(":")
            proxy = found[name] = Proxy((host, int(port)), chance)
            server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
            await stack.enter_async_context(server)
            proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield found
