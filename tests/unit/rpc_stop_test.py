"""A server that stops while calls come from everywhere: whoever called it learns the reason."""

import asyncio
import multiprocessing
import socket
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from clients.credentials import Credentials
from ronghe.catalog.v1.catalog_pb2 import ServiceItem
from ronghe.catalog.v1.catalog_service_pb2 import GetServiceItemRequest, GetServiceItemResponse
from servers.rpc.call import Call
from servers.rpc.server import KNOCK, Limits, serving
from tests.unit.rpc_support import ORGAN, SERVER, Authority, SpanList, ToyCatalog, until

ITEM = "/ronghe.catalog.v1.CatalogService/GetServiceItem"
CALLERS, CONNECTIONS = 60, 6
REQUEST = GetServiceItemRequest(code="IT-001").SerializeToString()
REASONS = ("the server is shutting down", "failed to connect", "Socket closed", "recvmsg:Connection reset by peer")
PATIENCE_SECONDS = 30.0
DISTANCE_SECONDS = 0.02
LARGE = "大" * (1 << 19)
WINDOW = 64 * 1024
CALLING_SECONDS, PAUSE_SECONDS = 1.0, 0.005


class BusyCatalog(ToyCatalog):
    """Leaves the event loop no time: calls come faster than they are taken."""

    async def GetServiceItem(  # noqa: N802 - the contract's name
        self, request: GetServiceItemRequest, call: Call
    ) -> GetServiceItemResponse:
        time.sleep(0.003)  # noqa: ASYNC251 - that is what it is for
        self.calls.append(call)
        return GetServiceItemResponse()


def open_channel(port: int, credentials: Credentials, number: int) -> grpc.aio.Channel:
    """Without retries: what the server says is what the caller gets."""
    tls = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)
    options = [
        ("grpc.ssl_target_name_override", "localhost"),
        ("grpc.enable_retries", 0),
        ("grpc.http2.lookahead_bytes", WINDOW),
        ("grpc.http2.bdp_probe", 0),
        ("number", number),
    ]
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", tls, options=options)


async def call(channel: grpc.aio.Channel, body: bytes = REQUEST, method: str = ITEM) -> bytes:
    method_of: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
    return await method_of(body)


async def call_until_it_stops(channel: grpc.aio.Channel) -> grpc.aio.AioRpcError:
    """One call after the other; gives why the first one failed."""
    while True:
        try:
            await call(channel)
        except grpc.aio.AioRpcError as error:
            return error


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "pki")
    for identity in (SERVER, ORGAN):
        authority.issue(identity)
    return authority


async def test_whoever_calls_a_server_that_stops_learns_why(authority: Authority) -> None:
    catalog = BusyCatalog()
    stopping = serving([catalog], "127.0.0.1:0", authority.credentials(SERVER), SpanList(), limits=Limits(grace=5.0))
    port = (await stopping.__aenter__()).port
    channels = [open_channel(port, authority.credentials(ORGAN), number) for number in range(CONNECTIONS)]
    callers = [asyncio.create_task(call_until_it_stops(channels[n % CONNECTIONS])) for n in range(CALLERS)]
    await until(lambda: len(catalog.calls) > 2 * CALLERS)
    await stopping.__aexit__(None, None, None)
    ends = await asyncio.gather(*callers)
    for channel in channels:
        await channel.close()
    assert Counter(end.code() for end in ends) == {StatusCode.UNAVAILABLE: CALLERS}, [end.details() for end in ends]
    assert all(any(reason in str(end.details()) for reason in REASONS) for end in ends), [end.details() for end in ends]


def call_from_elsewhere(pki: Path, port: int) -> Counter[StatusCode]:
    """What a process of its own does; gives how its calls ended."""
    return asyncio.run(call_without_waiting(pki, port))


async def call_without_waiting(pki: Path, port: int) -> Counter[StatusCode]:
    credentials = Credentials.load(pki, ORGAN)
    channels = [open_channel(port, credentials, number) for number in range(CONNECTIONS)]
    calls, end = list[asyncio.Task[bytes]](), time.monotonic() + CALLING_SECONDS
    while time.monotonic() < end:
        calls += [asyncio.create_task(call(channel)) for channel in channels]
        await asyncio.sleep(PAUSE_SECONDS)
    ends = await asyncio.gather(*calls, return_exceptions=True)
    return Counter(end.code() if isinstance(end, grpc.aio.AioRpcError) else StatusCode.OK for end in ends)


@pytest.mark.parametrize("others", [0, 400])
async def test_no_call_on_its_way_to_a_server_that_stops_is_told_cancelled(authority: Authority, others: int) -> None:
    """Retry policies cover UNAVAILABLE; grpc tells CANCELLED what it has not looked at.

    It takes time to find the callers among `others` who are connected and say nothing.
    """
    catalog = ToyCatalog()
    stopping = serving([catalog], "127.0.0.1:0", authority.credentials(SERVER), SpanList())
    port = (await stopping.__aenter__()).port
    with ExitStack() as stack:
        for _ in range(others):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        elsewhere = stack.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
        calling = asyncio.wrap_future(elsewhere.submit(call_from_elsewhere, authority.pki, port))
        await until(lambda: len(catalog.calls) > CALLERS)
        await stopping.__aexit__(None, None, None)
        ends = await calling
    assert set(ends) == {StatusCode.OK, StatusCode.UNAVAILABLE}


async def test_a_call_that_outlasts_the_grace_is_told_why_it_ends(authority: Authority) -> None:
    catalog = ToyCatalog()
    limits = Limits(grace=0.2)
    stopping = serving([catalog], "127.0.0.1:0", authority.credentials(SERVER), SpanList(), limits=limits)
    port = (await stopping.__aenter__()).port
    async with open_channel(port, authority.credentials(ORGAN), 0) as channel:
        slow = asyncio.create_task(call(channel, GetServiceItemRequest(code="slow").SerializeToString()))
        await catalog.started.wait()
        await stopping.__aexit__(None, None, None)
        with pytest.raises(grpc.aio.AioRpcError, match="the server is shutting down") as caught:
            await slow
    assert caught.value.code() is StatusCode.UNAVAILABLE


class GatedCatalog(ToyCatalog):
    """Answers an item when it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def GetServiceItem(  # noqa: N802 - the contract's name
        self, request: GetServiceItemRequest, call: Call
    ) -> GetServiceItemResponse:
        self.calls.append(call)
        await self.gates[request.code].wait()
        return GetServiceItemResponse()


async def test_no_answer_of_a_server_that_stops_waits_for_another_call(authority: Authority) -> None:
    catalog = GatedCatalog()
    limits = Limits(grace=2 * PATIENCE_SECONDS)
    stopping = serving([catalog], "127.0.0.1:0", authority.credentials(SERVER), SpanList(), limits=limits)
    port = (await stopping.__aenter__()).port
    async with open_channel(port, authority.credentials(ORGAN), 0) as channel:
        quick, slow = (
            asyncio.create_task(call(channel, GetServiceItemRequest(code=code).SerializeToString()))
            for code in ("quick", "slow")
        )
        await until(lambda: len(catalog.calls) == 2)
        stopped = asyncio.create_task(stopping.__aexit__(None, None, None))
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert "the server is shutting down" in str((await refusal(channel)).details())
            catalog.gates["quick"].set()
            await quick
        assert not slow.done()
        catalog.gates["slow"].set()
        await slow
        await stopped


async def refusal(channel: grpc.aio.Channel) -> grpc.aio.AioRpcError:
    """Of the first call that is not answered: before, they wait at the gate until their time is over."""
    while True:
        try:
            method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(ITEM)
            await method(REQUEST, timeout=0.1)
        except grpc.aio.AioRpcError as error:
            if error.code() is not StatusCode.DEADLINE_EXCEEDED:
                return error


class WordyCatalog(ToyCatalog):
    """Says more than fits between two words of its caller."""

    async def GetServiceItem(  # noqa: N802 - the contract's name
        self, request: GetServiceItemRequest, call: Call
    ) -> GetServiceItemResponse:
        self.calls.append(call)
        return GetServiceItemResponse(item=ServiceItem(name=LARGE))


async def test_a_large_answer_of_a_server_that_stops_comes_whole(authority: Authority) -> None:
    catalog = WordyCatalog()
    stopping = serving([catalog], "127.0.0.1:0", authority.credentials(SERVER), SpanList())
    port = (await stopping.__aenter__()).port
    async with far_away(port) as distant, open_channel(distant, authority.credentials(ORGAN), 0) as channel:
        asked = asyncio.create_task(call(channel))
        await until(lambda: catalog.calls)
        await stopping.__aexit__(None, None, None)
        assert GetServiceItemResponse.FromString(await asked).item.name == LARGE


@asynccontextmanager
async def far_away(port: int) -> AsyncIterator[int]:
    """A port on the way to the server: whatever passes takes its time."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(WINDOW):
            await asyncio.sleep(DISTANCE_SECONDS)
            writer.write(data)
        writer.write_eof()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        with closing(writer), closing(server_writer):
            await asyncio.gather(carry(reader, server_writer), carry(server_reader, writer))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as proxy:
        yield proxy.sockets[0].getsockname()[1]


class PolledCatalog(ToyCatalog):
    """Its slow items may take for ever."""

    polls = ("GetServiceItem",)


async def test_nobody_waits_for_a_long_poll_of_a_server_that_stops(authority: Authority) -> None:
    catalog = PolledCatalog()
    limits = Limits(grace=2 * PATIENCE_SECONDS)
    stopping = serving([catalog], "127.0.0.1:0", authority.credentials(SERVER), SpanList(), limits=limits)
    port = (await stopping.__aenter__()).port
    async with open_channel(port, authority.credentials(ORGAN), 0) as channel:
        polling = asyncio.create_task(call(channel, GetServiceItemRequest(code="slow").SerializeToString()))
        await catalog.started.wait()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await stopping.__aexit__(None, None, None)
        with pytest.raises(grpc.aio.AioRpcError, match="the server is shutting down"):
            await polling


async def test_a_servers_call_to_itself_waits_behind_all_that_have_come(authority: Authority) -> None:
    catalog = BusyCatalog()
    credentials = authority.credentials(SERVER)
    async with (
        serving([catalog], "127.0.0.1:0", credentials, SpanList()) as serves,
        open_channel(serves.port, authority.credentials(ORGAN), 0) as channel,
    ):
        await channel.channel_ready()
        calls = [asyncio.create_task(call(channel)) for _ in range(100)]
        await asyncio.sleep(0)
        await call(channel, b"", KNOCK)
        assert len(catalog.calls) == len(calls)
        await asyncio.gather(*calls)
