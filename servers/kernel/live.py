"""Streams in memory: as a batch works on them, and as they are kept for the next ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from servers.kernel.stream import Stream, StreamKey

# As stored. Of cases like the demo's these are 2,000; read, they take three times as much.
MOST_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class LiveStream:
    """A stream in memory."""

    key: StreamKey
    rules: Stream[Any]
    state: Message
    version: int = 0
    last_event_id: str = ""
    indexed: tuple[Any, ...] | None = None
    """Values of the indexed columns; None for a new stream."""
    timers: Mapping[str, datetime] = field(default_factory=dict)
    figures: Mapping[str, int] = field(default_factory=dict)
    parties: frozenset[str] = frozenset()
    size: int = 0
    """Bytes of the state. These five as they are stored."""
    changed: bool = False

    @property
    def last_cause(self) -> tuple[str, ...]:
        """What a command is caused by: the last record the stream took in."""
        return (self.last_event_id,) if self.last_event_id else ()


class KeptStreams:
    """Streams as they are stored, for as long as nobody else writes: a case that goes on need not be read again.

    Whoever takes one has it alone. Where his transaction fails, what he did to it is gone with it.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._bytes = 0
        self._head = b""
        self._streams: dict[str, LiveStream] = {}
        """The one that was kept longest first."""

    def forget_unless(self, head: bytes) -> None:
        """Forget all of them where the journal's last hash is another one than when they were kept."""
        if head != self._head:
            self._streams.clear()
            self._bytes = 0

    def take(self, name: str) -> LiveStream | None:
        """The stream, no longer kept; None where it was not."""
        live = self._streams.pop(name, None)
        if live is not None:
            self._bytes -= live.size
        return live

    def keep(self, streams: Mapping[str, LiveStream], head: bytes) -> None:
        """They are stored, and this is the journal's last hash; the oldest make room."""
        self._head = head
        for name, live in streams.items():
            # Of a new one nothing is stored: who asks for what is not there shall not take the room of what is.
            if live.indexed is not None:
                self._streams[name] = live
                self._bytes += live.size
        while self._streams and self._bytes >= self._most:
            self.take(next(iter(self._streams)))
