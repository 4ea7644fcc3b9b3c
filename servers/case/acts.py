"""What all commands about a case have in common."""

from typing import Protocol

from google.protobuf.descriptor import Descriptor
from google.protobuf.timestamp_pb2 import Timestamp

from ronghe.party.v1.party_pb2 import Officer


class Act(Protocol):
    """A command of a person."""

    DESCRIPTOR: Descriptor

    @property
    def occurred_at(self) -> Timestamp:
        """The legal time of the act."""


class ActOfOfficer(Act, Protocol):
    """A command of an organ's officer."""

    @property
    def actor(self) -> Officer:
        """Who signs it."""
