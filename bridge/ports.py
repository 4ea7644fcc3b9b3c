"""What the bridge needs of a journal: a source to publish from, and a sink to hand records to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.record import Record


class StoreUnavailable(Exception):
    """The database does not answer. What was under way may or may not be durable: wait, and try again."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a source is to go on; stored in the transaction of the records it stands behind."""

    name: str
    """For example "kafka/ronghe.cases.v1/3"."""
    value: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a published row lies on the topic."""

    position: int
    topic_id: str
    partition: int
    offset: int
    event_id: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A record and where it came from."""

    record: Record
    source: str
    """For example "kafka/ronghe.cases.v1/<topic id>/3/1042" or "inbox/intake-01/1/17"."""


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Something that came from a source and is no record."""

    source: str
    case_id: str
    """Empty where it could not be read."""
    headers: Mapping[str, bytes]
    value: bytes
    error: str
    """What is wrong with it, without its contents."""


@dataclass(frozen=True, slots=True)
class Published:
    """How far a journal is published."""

    position: int = 0
    """Everything up to this row."""
    ends: Sequence[Checkpoint] = ()
    """What was published last on each partition."""
    rewinds: int = 0
    """How often it was set back: whoever published meanwhile must not move it on."""


class Outbox(Protocol):
    """The journal, as the relay sees it."""

    async def unpublished(self, after: int, limit: int) -> tuple[Sequence[Record], int]:
        """Rows to publish behind a position, in order, and up to where was looked.

        They are own rows and those that arrived by an inbox; those from Kafka are there already.
        """

    async def wait_beyond(self, position: int) -> None:
        """Return when the journal may have grown beyond the position; at the latest after a second."""

    async def published(self) -> Published:
        """Up to where everything is published, and where it lies."""

    async def checkpoints(self) -> Sequence[Checkpoint]:
        """Some of the published rows, newest first."""

    async def advance(self, ends: Sequence[Checkpoint], rewinds: int, *, keep: bool) -> bool:
        """Everything up to the last of these rows is published; keep it as a checkpoint as well.

        False, and nothing is stored, where it was set back since `rewinds`.
        """

    async def rewind(self, published: Published) -> bool:
        """Publish again from behind a position; False where it was set back since `published.rewinds`."""


class Sink(Protocol):
    """The journal, as a source of records sees it."""

    @property
    def epoch(self) -> int:
        """Grows when the journal is restored from a backup."""

    async def absorb(self, items: Sequence[Arrived | Undecodable], cursors: Sequence[Cursor]) -> None:
        """Take the items in, and remember where to go on; durable on return. Raises StoreUnavailable."""

    async def cursors(self, prefix: str) -> Sequence[Cursor]:
        """Stored cursors whose name begins so."""
