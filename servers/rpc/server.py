"""A subsystem's gRPC server: mutual TLS, the wrapped servicers, health, reflection, and an orderly end."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from clients.credentials import Credentials
from clients.renewal import RenewingChannel
from clients.telemetry import SpanSink
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused
from servers.rpc.connections import hang_up
from servers.rpc.describing import Descriptors
from servers.rpc.door import Door
from servers.rpc.errors import abort
from servers.rpc.overload import Admission
from servers.rpc.validation import MAX_BODY
from servers.rpc.wrapper import Handler, Observer, Servicer, Wrapper

# Beyond its own bound grpc gives no reason: ours must be the smaller one.
MAX_MESSAGE = 4 * MAX_BODY
# As above; here grpc answers a bare CANCELLED.
MAX_PENDING = 20_000
# What is refused at last gets so long to be on its way.
REFUSAL_SECONDS = 1.0
KNOCK = "/ronghe.Door/Knock"

OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", -1),
    ("grpc.server.max_pending_requests", MAX_PENDING),
    ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING),
    ("grpc.so_reuseport", 0),
    # What a stream may send before it is read: more would wait here, and not at its sender.
    ("grpc.http2.lookahead_bytes", 64 * 1024),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server takes on."""

    calls: int = 4_000
    """Unary calls in progress."""
    streams: int = 2_000
    """Streams open; an idle one costs about 85 KB."""
    grace: float = 5.0
    """Seconds that calls in progress get when the server closes."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that answers."""

    port: int


def unobserved(method: str, kind: str, code: str, seconds: float) -> None:
    """Keep no figures of calls."""


@asynccontextmanager
async def serving(
    servicers: Sequence[Servicer],
    listen: str,
    credentials: Credentials,
    spans: SpanSink,
    *,
    observe: Observer = unobserved,
    limits: Limits = Limits(),
) -> AsyncIterator[Serving]:
    """Serve on `listen` ("127.0.0.1:7101", port 0 for any) until the end of the block.

    Then: NOT_SERVING; streams and long polls end, and calls in progress get their grace; calls that have come since are
    refused with SHUTTING_DOWN; connections are closed.
    """
    calls, streams = Admission(limits.calls), Admission(limits.streams)
    door = Door()
    wrapper = Wrapper(credentials.domain, door, calls, streams, spans, observe)
    checks = health.aio.HealthServicer()
    server = grpc.aio.server(options=OPTIONS)
    _register(server, servicers, wrapper, checks)
    port = server.add_secure_port(listen, _server_credentials(credentials))
    await server.start()
    await _announce(checks, servicers)
    log.info("rpc.serving", port=port, services=[servicer.service.full_name for servicer in servicers])
    async with RenewingChannel(f"{listen.rpartition(':')[0]}:{port}", credentials) as channel:
        watching = asyncio.create_task(_watch(door, channel))
        try:
            yield Serving(port)
        finally:
            door.close()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await checks.enter_graceful_shutdown()
            await _drain(wrapper, limits.grace)
            # A server that is stopped cancels what has come and was not taken yet (grpc issue 41785), without a reason.
            await hang_up(port)
            await server.stop(None)
    log.info("rpc.stopped", port=port)


def _register(
    server: grpc.aio.Server, servicers: Sequence[Servicer], wrapper: Wrapper, checks: health.aio.HealthServicer
) -> None:
    for servicer in servicers:
        handler = grpc.method_handlers_generic_handler(servicer.service.full_name, wrapper.handlers(servicer))
        server.add_generic_rpc_handlers((handler,))
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    names = [servicer.service.full_name for servicer in servicers]
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server, Descriptors())
    knocked: Handler = grpc.unary_unary_rpc_method_handler(_knocked)
    door = grpc.method_handlers_generic_handler("ronghe.Door", {"Knock": knocked})
    server.add_generic_rpc_handlers((door, _NotOffered()))


async def _announce(checks: health.aio.HealthServicer, servicers: Sequence[Servicer]) -> None:
    for servicer in servicers:
        await checks.set(servicer.service.full_name, health_pb2.HealthCheckResponse.SERVING)


async def _drain(wrapper: Wrapper, grace: float) -> None:
    wrapper.close()
    late = await wrapper.answered(grace)
    if late:
        log.warning("rpc.grace_passed", in_progress=late)
        wrapper.cut()
        await wrapper.answered(REFUSAL_SECONDS)


async def _watch(door: Door, channel: RenewingChannel) -> None:
    await channel.channel_ready()
    await door.watch(lambda: _knock(channel))


async def _knock(channel: RenewingChannel) -> None:
    """A call of the server to itself, which waits behind all that have come.

    A health check would not: it is of a registered method, and the library has a queue for each of those.
    """
    await channel.unary_unary(KNOCK)(b"")


async def _knocked(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    return b""


def _server_credentials(credentials: Credentials) -> grpc.ServerCredentials:
    """The certificate as it is on disk at each handshake: it can be renewed while the server runs."""
    current = [credentials]

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        found = current[0].renewed()
        if found is None:
            return None
        current[0] = found
        log.info("rpc.certificate_renewed", expires_at=found.expires_at.isoformat())
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(credentials),
        renewed,  # type: ignore[arg-type] # None means as before, which grpc's stubs do not say
        require_client_authentication=True,
    )


def _configuration(credentials: Credentials) -> grpc.ServerCertificateConfiguration:
    pair = (credentials.key, credentials.certificate)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=credentials.ca)


class _NotOffered(grpc.GenericRpcHandler):
    """Answers every method that nobody else answers."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """A handler that refuses, whatever the method's shape."""
        method = handler_call_details.method.lstrip("/")
        refused = Refused(Reason.REASON_METHOD_NOT_OFFERED, f"this server does not offer {method}", {"method": method})

        async def refuse(requests: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            await abort(context, refused, method)

        return grpc.stream_stream_rpc_method_handler(refuse)
