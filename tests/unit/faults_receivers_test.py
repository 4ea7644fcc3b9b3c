"""Readers that do not read: what they are sent waits at the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from faults.injections.receivers import (
    CASES,
    EXECUTE_MANY,
    INVALID,
    LIST_ITEMS,
    PAUSE_SECONDS,
    SUBMIT_MANY,
    comes_and_goes,
    sessions,
    slow_channel,
    unread,
)
from ronghe.department.v1.department_service_pb2 import ExecuteCommandsRequest
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationsRequest
from servers.kernel.stream import Refused
from servers.rpc.errors import to_status
from servers.rpc.validation import validate
from tests.unit.rpc_support import SERVER, TERMINAL, Authority

LIST_BYTES, ANSWER_BYTES = 38_000, 30_000
WINDOWS = 64 * 1024
"""What the library lets wait for a stream, by itself."""


class Server:
    """Answers at length, and counts the answers that could be sent."""

    def __init__(self) -> None:
        self.sent = 0
        methods = {
            LIST_ITEMS: grpc.unary_unary_rpc_method_handler(self.list_items),
            SUBMIT_MANY: grpc.stream_stream_rpc_method_handler(self.submit_many),
        }
        services = [(path.split("/")[1], {path.split("/")[2]: handler}) for path, handler in methods.items()]
        self.handlers = [grpc.method_handlers_generic_handler(*service) for service in services]

    async def list_items(self, body: bytes, context: Any) -> bytes:
        return b"x" * LIST_BYTES

    async def submit_many(self, bodies: AsyncIterator[bytes], context: Any) -> None:
        async for _ in bodies:
            await context.write(b"x" * ANSWER_BYTES)
            self.sent += 1


@asynccontextmanager
async def slow_reader(server: Server, pki: Path) -> AsyncIterator[grpc.aio.Channel]:
    authority = Authority(pki)
    own, caller = (authority.credentials(authority.issue(each)) for each in (SERVER, TERMINAL))
    grpc_server = grpc.aio.server()
    grpc_server.add_generic_rpc_handlers(server.handlers)
    port = grpc_server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([(own.key, own.certificate)], own.ca, require_client_auth=True)
    )
    await grpc_server.start()
    try:
        async with slow_channel(f"127.0.0.1:{port}", caller) as channel:
            yield channel
    finally:
        await grpc_server.stop(0)


async def test_a_stream_that_is_not_read_is_sent_no_more(tmp_path: Path) -> None:
    server = Server()
    async with slow_reader(server, tmp_path) as channel:
        call = unread(channel, SUBMIT_MANY)
        for _ in range(CASES):
            await call.write(b"")
        await asyncio.sleep(0.5)
        assert server.sent < CASES
        assert not call.done()
        call.cancel()


async def test_a_list_that_is_not_read_does_not_come_to_its_end(tmp_path: Path) -> None:
    async with slow_reader(Server(), tmp_path) as channel:
        call = unread(channel, LIST_ITEMS)
        await asyncio.sleep(0.5)
        assert not call.done()
        assert len(await call.read()) == LIST_BYTES


@pytest.mark.parametrize(
    "items",
    [
        SubmitApplicationsRequest.FromString(INVALID[SUBMIT_MANY]).applications,
        ExecuteCommandsRequest.FromString(INVALID[EXECUTE_MANY]).commands,
    ],
)
def test_what_is_refused_at_length_is_more_than_a_server_can_send_unread(items: list[Message]) -> None:
    assert CASES * sum(map(refusal, items)) > 2 * WINDOWS


def refusal(item: Message) -> int:
    """Bytes of what is wrong with it."""
    with pytest.raises(Refused) as refused:
        validate(item)
    return to_status(refused.value, "m").ByteSize()


async def test_who_reconnects_ten_times_a_second_does() -> None:
    channel: Any = Sessions()
    await sessions(lambda: channel, comes_and_goes, 10 * PAUSE_SECONDS)
    assert 6 < channel.begun <= 10  # a busy machine takes its time
    assert channel.closed == channel.ended == channel.begun


class Sessions:
    """A channel to an inbox with nothing in it."""

    begun = ended = closed = 0

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed += 1

    def stream_stream(self, *_: Any) -> Any:
        return lambda: self

    async def write(self, _: Message) -> None:
        self.begun += 1

    async def __aiter__(self) -> AsyncIterator[Message]:
        await asyncio.Event().wait()
        yield SubmitApplicationsRequest()

    def cancel(self) -> None:
        self.ended += 1
