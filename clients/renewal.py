"""A channel whose certificate may be renewed while it is in use: new calls go by the new one, open ones end in time."""

import asyncio
import time
from typing import Any

import grpc
import structlog

from clients.channel import open_channel
from clients.credentials import Credentials

LOOK_SECONDS = 5.0
# What is open on the old connection gets so long; streams are opened again by the clients that read them.
GRACE_SECONDS = 30.0

log = structlog.get_logger()


class RenewingChannel(grpc.aio.Channel):
    """Looks at the certificate's file every few seconds, when a call begins."""

    def __init__(self, target: str, credentials: Credentials) -> None:
        self._target = target
        self._credentials = credentials
        self._channel = open_channel(target, credentials)
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def current(self) -> grpc.aio.Channel:
        """The channel for a new call. Raises grpc.aio.UsageError when it is closed."""
        if self._is_closed:
            # The library itself ends the whole process, where a method is called for the first time.
            raise grpc.aio.UsageError("this client is closed: use it within its `async with`")
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_SECONDS
            renewed = self._credentials.renewed()
            if renewed is not None:
                self._replace(renewed)
        return self._channel

    def _replace(self, credentials: Credentials) -> None:
        log.info("channel.certificate_renewed", target=self._target, expires_at=credentials.expires_at.isoformat())
        closing = asyncio.ensure_future(self._channel.close(GRACE_SECONDS))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._credentials, self._channel = credentials, open_channel(self._target, credentials)

    # --- the channel that stubs know ---

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        """A method of one request and one response."""
        return _Method(self, "unary_unary", arguments, options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        """A method of one request and many responses."""
        return _Method(self, "unary_stream", arguments, options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        """A method of many requests and one response."""
        return _Method(self, "stream_unary", arguments, options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """A method of many requests and many responses."""
        return _Method(self, "stream_stream", arguments, options)

    async def close(self, grace: float | None = None) -> None:
        """Close; calls in progress get so many seconds."""
        self._is_closed = True
        await asyncio.gather(self._channel.close(grace), *self._closing)

    async def __aenter__(self) -> "RenewingChannel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The state of the connection."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return when the state is another one."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return when it is connected."""
        await self._channel.channel_ready()


class _Method:
    """A method on whichever channel is the current one when it is called."""

    def __init__(self, owner: RenewingChannel, kind: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._owner, self._kind, self._arguments, self._options = owner, kind, arguments, options
        self._channel: grpc.aio.Channel | None = None
        self._method: Any = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        channel = self._owner.current()
        if channel is not self._channel:
            self._channel = channel
            self._method = getattr(channel, self._kind)(*self._arguments, **self._options)
        return self._method(*arguments, **options)
