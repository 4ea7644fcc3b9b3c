"""What stands before the department server: the same contract, passed on byte by byte, watched and disturbed."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import grpc

from clients.conformance.bulk import Bulk
from clients.conformance.calls import Calls
from clients.conformance.contract import ACK_INBOX, EXECUTE_COMMANDS, FETCH_INBOX, OPEN_INBOX, unary_methods
from clients.conformance.desk import Desk
from clients.conformance.errors import CannotPlay
from clients.conformance.fetching import Fetching
from clients.conformance.inbox import Session
from clients.conformance.wire import Context, Wires, caller, channel_of, fail, pass_on, stream_to
from clients.credentials import Credentials
from clients.identity import Identity
from clients.stream import ENDED

# grpc's own class is generic for the type checker only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
MAX_MESSAGE = 16 * 1024 * 1024


@asynccontextmanager
async def front(desk: Desk, organ: Credentials, wires: Wires, port: int) -> AsyncIterator[str]:
    """Serve on a loopback port (0: any free one) until the block is left; gives the address. Raises CannotPlay.

    It shows the organ's own certificate: a program knows its servers by their authority, and by the name localhost.
    """
    server = grpc.aio.server(
        options=(("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", -1))
    )
    server.add_generic_rpc_handlers((_Front(desk, organ.identity, wires),))
    tls = grpc.ssl_server_credentials(
        [(organ.key, organ.certificate)], root_certificates=organ.ca, require_client_auth=True
    )
    try:
        bound = server.add_secure_port(f"127.0.0.1:{port}", tls)
    except RuntimeError as error:
        raise CannotPlay(f"port {port} cannot be listened at: choose another one with --port") from error
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(0.5)
        await desk.finish()
        await wires.close()


class _Front(grpc.GenericRpcHandler):
    """A handler for whatever is called; only calls of the organ under test are watched."""

    def __init__(self, desk: Desk, organ: Identity, wires: Wires) -> None:
        self._desk = desk
        self._organ = organ
        self._wires = wires
        self._calls = Calls(desk.script, desk.seen, desk.kill)
        self._fetching = Fetching(desk)
        self._unary = unary_methods()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """Unary where the contract says so; all else as a stream, which every call is on the wire."""
        path = handler_call_details.method
        if path in self._unary:
            return grpc.unary_unary_rpc_method_handler(self._answering(path))
        return grpc.stream_stream_rpc_method_handler(self._streaming(path))

    def _answering(self, path: str) -> Callable[[bytes, Context], Any]:
        async def answer(body: bytes, context: Context) -> bytes:
            channel = await channel_of(context, self._wires)
            if caller(context) != self._organ:
                return await pass_on(channel, path, body, context)
            if path == FETCH_INBOX:
                return await self._fetching.fetch(channel, path, body, context)
            if path == ACK_INBOX:
                return await self._fetching.acknowledge(channel, path, body, context)
            return await self._calls.serve(channel, path, self._unary[path], body, context)

        return answer

    def _streaming(self, path: str) -> Callable[[AsyncIterator[bytes], Context], Any]:
        async def stream(requests: AsyncIterator[bytes], context: Context) -> None:
            channel = await channel_of(context, self._wires)
            watched = caller(context) == self._organ
            if watched and path == OPEN_INBOX:
                await Session.serve(self._desk, channel, path, requests, context)
            elif watched and path == EXECUTE_COMMANDS:
                bulk = Bulk(self._desk.script, self._desk.seen, self._desk.kill, context)
                await bulk.serve(channel, path, requests)
            else:
                await _pass(channel, path, requests, context)

        return stream


async def _pass(channel: grpc.aio.Channel, path: str, requests: AsyncIterator[bytes], context: Context) -> None:
    upstream = stream_to(channel, path, context, _quietly(requests))
    try:
        async for raw in upstream:
            await context.write(raw)
    except grpc.aio.AioRpcError as failure:
        await fail(context, failure)
    finally:
        upstream.cancel()


async def _quietly(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The caller's messages; when he goes, his call is cancelled, which tells enough."""
    with suppress(*ENDED):
        async for raw in requests:
            yield raw
