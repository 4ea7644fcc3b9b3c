"""One fact with its envelope, as it stands in a journal and travels between journals."""

import re
from datetime import datetime
from enum import IntEnum
from functools import cache
from typing import NamedTuple
from uuid import UUID

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

# Imported for what it does as well: the facts of the contract become known by name.
from ronghe.event.v1.event_pb2 import JournalHead

HEAD = JournalHead.DESCRIPTOR.full_name
"""The one fact that is no case's."""

# Nearly all are: to look is four times as fast as to parse and print.
_CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


class Arrival(IntEnum):
    """How a record came into a journal; the numbers are those of the contract's EventLocation.Arrival."""

    OWN = 1
    INBOX = 2
    KAFKA = 3


class Record(NamedTuple):
    """One journal row. `position` is 0 until a journal has taken it in.

    A tuple: made again with its position in a third of the time that a frozen dataclass takes.
    """

    event_id: str
    """A UUID in its canonical form."""
    origin: str
    """The deployment that decided it, for example "department-01"."""
    case_id: str
    stream: str
    """ "<kind>/<id>" of the unit of state it belongs to, at its origin."""
    version: int
    causes: tuple[str, ...]
    """Ids of events."""
    recorded_at: datetime
    """When its origin recorded it; UTC."""
    type: str
    """Full name of the message, for example "ronghe.event.v1.Submitted"."""
    body: bytes
    """The fact's bytes as its origin wrote them: digests and chains use these, never a re-serialization."""
    fact: Message | None
    """The parsed body; None for a type this version does not know."""
    arrival: Arrival = Arrival.OWN
    position: int = 0

    @property
    def origin_kind(self) -> str:
        """ "intake", "governance" or "department"."""
        return self.origin.partition("-")[0]

    @property
    def is_of_case(self) -> bool:
        """Whether it is a case's, and stands in that case's trace; a head of a journal is nobody's."""
        return self.type != HEAD


def canonical(uuid: str) -> str:
    """A UUID's text in lower case with hyphens; ValueError where it is none."""
    return uuid if _CANONICAL(uuid) else str(UUID(uuid))


@cache
def fact_class(type_name: str) -> type[Message] | None:
    """The message class of a fact's full name; None for a type this version does not know."""
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(type_name)
    except KeyError:
        return None
    return message_factory.GetMessageClass(descriptor)


def parse_fact(type_name: str, body: bytes) -> Message | None:
    """Parse a fact's body; None for an unknown type, google.protobuf.message.DecodeError for bytes that are none."""
    message_class = fact_class(type_name)
    return None if message_class is None else message_class.FromString(body)
