"""A server that stops while calls come from everywhere: whoever called it learns the reason."""

import asyncio
import time
from collections import Counter
from itertools import count
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from clients.credentials import Credentials
from clients.renewal import RenewingChannel
from ronghe.catalog.v1.catalog_service_pb2 import GetServiceItemRequest, GetServiceItemResponse
from servers.rpc import server
from servers.rpc.call import Call
from servers.rpc.server import KNOCK, Limits, serving
from tests.unit.rpc_support import ORGAN, SERVER, Authority, SpanList, ToyCatalog, until

ITEM = "/ronghe.catalog.v1.CatalogService/GetServiceItem"
CALLERS, CONNECTIONS = 60, 6
REQUEST = GetServiceItemRequest(code="IT-001").SerializeToString()
REASONS = ("the server is shutting down", "failed to connect", "GOAWAY")


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
    options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.enable_retries", 0), ("number", number)]
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


async def keep_busy() -> None:
    """Other work of the process, so that each step of a call waits for longer than a call to an idle server takes."""
    while True:
        time.sleep(2 * server.AT_ONCE)  # noqa: ASYNC251 - that is what it is for
        await asyncio.sleep(0)


async def test_a_server_that_is_busy_otherwise_stops_when_nobody_waits(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    knock, knocks = server._knock, count()

    async def counted(channel: RenewingChannel) -> None:
        next(knocks)
        await knock(channel)

    async with serving([ToyCatalog()], "127.0.0.1:0", authority.credentials(SERVER), SpanList()):
        busy = asyncio.create_task(keep_busy())
        monkeypatch.setattr(server, "_knock", counted)
    busy.cancel()
    assert next(knocks) == 1


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
