"""Streams in memory: as a batch works on them, and as they are kept for the next ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from servers.kernel.stream import Stream, StreamKey

# A case's takes some 20 KB.
MOST_KEPT = 3_000


@dataclass(slots=True)
class LiveStream:
    """A stream while a batch works on it."""

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
    """These four as they are stored."""
    changed: bool = False

    @property
    def last_cause(self) -> tuple[str, ...]:
        """What a command is caused by: the last record the stream took in."""
        return (self.last_event_id,) if self.last_event_id else ()


class KeptStreams:
    """Streams as they are stored, for as long as nobody else writes: a case that goes on need not be read again.

    Whoever takes one has it alone. Where his transaction fails, what he did to it is gone with it.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._head = b""
        self._streams: dict[str, LiveStream] = {}
        """The one that was kept longest first."""

    def as_of(self, head: bytes) -> "KeptStreams":
        """These, but none where the journal's last hash is another one than when they were kept."""
        if head != self._head:
            self._streams.clear()
        return self

    def take(self, name: str) -> LiveStream | None:
        """The stream, no longer kept; None where it was not."""
        return self._streams.pop(name, None)

    def keep(self, streams: Mapping[str, LiveStream], head: bytes) -> None:
        """They are stored, and this is the journal's last hash; the oldest make room."""
        self._head = head
        # Of a new one nothing is stored: who asks for what is not there shall not take the room of what is.
        self._streams.update((name, live) for name, live in streams.items() if live.indexed is not None)
        for name in list(self._streams)[: max(0, len(self._streams) - self._most)]:
            del self._streams[name]
