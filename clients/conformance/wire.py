"""The wires on both sides of the front: who calls, the same party's channel to the real server, and how calls fail."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from clients.channel import SERVER_NAME
from clients.conformance.scenes import RETRY_AFTER
from clients.credentials import Credentials, CredentialsError
from clients.errors import DETAILS, error_of
from clients.identity import Identity

Context = grpc.aio.ServicerContext[Any, Any]
Metadata = Sequence[tuple[str, str | bytes]]

ALTERNATIVE_NAMES = "x509_subject_alternative_name"
PUSHBACK = "grpc-retry-pushback-ms"
LOST = "the connection is lost, says the conformance suite"
OVERLOADED = "OVERLOADED"
# A program that gives no deadline gets one.
DEADLINE = 60.0


class Wires:
    """A channel to the real server for every party that calls; it repeats nothing, which is for the program to do."""

    def __init__(self, target: str, pki: Path) -> None:
        self._target = target
        self._pki = pki
        self._channels: dict[Identity, grpc.aio.Channel] = {}

    def channel(self, identity: Identity) -> grpc.aio.Channel:
        """The party's own; raises CredentialsError where the folder has no certificate of it."""
        if identity not in self._channels:
            own = Credentials.load(self._pki, identity)
            tls = grpc.ssl_channel_credentials(own.ca, own.key, own.certificate)
            options = [
                ("grpc.ssl_target_name_override", SERVER_NAME),
                ("grpc.default_authority", SERVER_NAME),
                ("grpc.enable_retries", 0),
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_reconnect_backoff_ms", 1_000),
            ]
            self._channels[identity] = grpc.aio.secure_channel(self._target, tls, options=options)
        return self._channels[identity]

    async def close(self) -> None:
        """Close them all."""
        for channel in self._channels.values():
            await channel.close()


def caller(context: Context) -> Identity:
    """Who calls, by the certificate; raises ValueError where it names nobody."""
    names: Mapping[str, Iterable[bytes]] = context.auth_context()
    uris = [name.decode() for name in names.get(ALTERNATIVE_NAMES, ()) if name.startswith(b"spiffe://")]
    return Identity.from_uri(uris[0] if uris else "")


async def channel_of(context: Context, wires: Wires) -> grpc.aio.Channel:
    """The caller's channel; ends the call where he cannot be passed on."""
    try:
        return wires.channel(caller(context))
    except (ValueError, CredentialsError) as error:
        return await context.abort(StatusCode.UNAUTHENTICATED, f"the conformance suite cannot pass you on: {error}")


def passed_on(context: Context) -> Metadata:
    """The caller's own metadata: not what belongs to his connection."""
    return [
        (name, value)
        for name, value in context.invocation_metadata() or ()
        if not name.startswith((":", "grpc-")) and name not in ("user-agent", "te", "content-type")
    ]


async def answer_of(channel: grpc.aio.Channel, path: str, body: bytes, context: Context) -> bytes:
    """The real server's answer to a unary call; raises grpc.aio.AioRpcError."""
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    return await method(body, timeout=context.time_remaining() or DEADLINE, metadata=passed_on(context))


async def pass_on(channel: grpc.aio.Channel, path: str, body: bytes, context: Context) -> bytes:
    """The real server's answer to a unary call; ends the call as the real server does."""
    try:
        return await answer_of(channel, path, body, context)
    except grpc.aio.AioRpcError as failure:
        await fail(context, failure)


def stream_to(
    channel: grpc.aio.Channel, path: str, context: Context, requests: AsyncIterator[bytes] | None = None
) -> "grpc.aio.StreamStreamCall[bytes, bytes]":
    """The same call to the real server, as a stream."""
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
    return method(requests, timeout=context.time_remaining(), metadata=passed_on(context))


async def fail(context: Context, failure: grpc.aio.AioRpcError) -> NoReturn:
    """End the call as the real server ended it."""
    await context.abort(failure.code(), failure.details() or "", tuple(failure.trailing_metadata() or ()))


async def lose(context: Context) -> NoReturn:
    """End the call as a lost connection does: without a word of the server."""
    await context.abort(StatusCode.UNAVAILABLE, LOST)


async def refuse_for_load(context: Context) -> NoReturn:
    """End the call as a server does that has too much to do."""
    trailers = ((DETAILS, overloaded().SerializeToString()), (PUSHBACK, str(round(RETRY_AFTER * 1000))))
    await context.abort(StatusCode.RESOURCE_EXHAUSTED, overloaded().message, trailers)


def overloaded() -> status_pb2.Status:
    """The status of a refusal for load."""
    status = status_pb2.Status(code=StatusCode.RESOURCE_EXHAUSTED.value[0], message="too much work is waiting")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=OVERLOADED, domain="ronghe"))
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromTimedelta(timedelta(seconds=RETRY_AFTER))
    status.details.add().Pack(retry)
    return status


def lost() -> status_pb2.Status:
    """The status of one item of a bulk call whose answer was lost."""
    return status_pb2.Status(code=StatusCode.UNAVAILABLE.value[0], message=LOST)


def says(failure: grpc.aio.AioRpcError) -> tuple[str, str, str, float | None]:
    """The code, the reason, the sentence and the seconds to wait of a failed call."""
    error = error_of(failure)
    return failure.code().name, error.reason, error.message, error.retry_after
