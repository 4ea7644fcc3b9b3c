"""The bad networks, between a client and a server that sends back what it gets."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest

from faults.injections.network import worsened
from faults.injections.stage import NotInjected
from faults.proxy import Network, Proxy, proxies

SECONDS = 0.3
LARGE = b"x" * 10_000


async def _send_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while content := await reader.read(65_536):
            writer.write(content)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def between() -> AsyncIterator[Proxy]:
    async with await asyncio.start_server(_send_back, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with proxies({"echo": address}, Random(7)) as found:
            yield found["echo"]


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = proxy.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _echo(proxy: Proxy) -> bytes:
    async with connected(proxy) as (reader, writer):
        writer.write(b"hello")
        return await reader.read(5)


async def test_a_whole_network_carries_both_ways() -> None:
    async with between() as proxy:
        assert await _echo(proxy) == b"hello"


async def test_a_cut_network_resets_what_is_open_and_what_is_new() -> None:
    async with between() as proxy, connected(proxy) as (reader, writer):
        writer.write(b"hello")
        assert await reader.read(5) == b"hello"
        proxy.become(Network.CUT)
        with pytest.raises(ConnectionError):
            await reader.read(5)
        with pytest.raises(ConnectionError):
            await _echo(proxy)
        proxy.heal()
        assert await _echo(proxy) == b"hello"


@pytest.mark.parametrize("network", [Network.BLACK_HOLE, Network.HALF_OPEN])
async def test_nothing_comes_back_from_a_black_hole_until_it_is_healed(network: Network) -> None:
    async with between() as proxy:
        proxy.become(network)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_echo(proxy), SECONDS)
        proxy.heal()
        assert await _echo(proxy) == b"hello"


async def test_a_slow_network_carries_everything_later() -> None:
    async with between() as proxy:
        proxy.become(Network.SLOW)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_echo(proxy), SECONDS)
        assert await _echo(proxy) == b"hello"


async def test_how_slow_a_network_is_can_be_chosen() -> None:
    async with between() as proxy:
        proxy.delay = (0.6, 0.7)
        proxy.become(Network.SLOW)
        started = time.monotonic()
        assert await _echo(proxy) == b"hello"
        assert time.monotonic() - started > 2 * 0.6  # there and back


async def test_a_torn_connection_is_reset_when_a_part_of_a_message_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faults.proxy.TORN_SHARE", 1.0)
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while content := await reader.read(65_536):
                arrived.put_nowait(content)
        arrived.put_nowait(b"end")
        writer.close()

    async with await asyncio.start_server(keep, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with proxies({"keeper": address}, Random(7)) as found, connected(found["keeper"]) as (reader, writer):
            found["keeper"].become(Network.TORN)
            writer.write(LARGE)
            part = await arrived.get()
            assert 0 < len(part) < len(LARGE)
            assert await arrived.get() == b"end"
            assert found["keeper"].affected[Network.TORN] == 1
            with pytest.raises(ConnectionError):
                await reader.read(1)


async def test_the_first_that_can_be_torn_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faults.proxy.TORN_SHARE", 0.0)
    async with between() as proxy:
        for _ in range(2):
            async with worsened(proxy, Network.TORN):
                assert await _echo(proxy) != b"hello"
        assert proxy.affected == {Network.TORN: 2}


async def test_a_bad_network_that_nobody_has_felt_was_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faults.injections.network.FELT_SECONDS", 0.1)
    async with between() as proxy:
        for network in Network:
            if network is not Network.WHOLE:
                with pytest.raises(NotInjected, match=f"{network.described}: nothing was affected"):
                    async with worsened(proxy, network):
                        pass
                assert proxy.network is Network.WHOLE


@pytest.mark.parametrize("network", [each for each in Network if each is not Network.WHOLE])
async def test_a_bad_network_lasts_until_somebody_has_felt_it(network: Network) -> None:
    async with between() as proxy:

        async def call_late() -> None:
            await asyncio.sleep(SECONDS)
            with suppress(ConnectionError):
                await _echo(proxy)

        calls = asyncio.create_task(call_late())
        async with worsened(proxy, network):
            pass
        assert proxy.affected[network]
        await calls


async def test_a_cut_network_was_felt_by_who_was_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faults.injections.network.FELT_SECONDS", 0.0)
    async with between() as proxy, connected(proxy) as (reader, writer):
        writer.write(b"hello")
        assert await reader.read(5) == b"hello"
        async with worsened(proxy, Network.CUT):
            pass
