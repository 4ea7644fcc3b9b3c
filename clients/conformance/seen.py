"""What was seen of the program under test; moments are seconds of the monotonic clock."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from clients.conformance.scenes import Scene

# What may be done in one case more than once.
SEVERAL = ("RecordStep", "RequestCorrection", "RequestCollaboration")

# The fact's type in which an item of the scene WITHDRAWN comes.
UNKNOWN = "FactOfALaterVersion"


class End(Enum):
    """Why a stream of the inbox ended."""

    CUT = "the suite cut it"
    TAKEN_OVER = "another session took it over"
    PROGRAM = "the program ended it"
    SERVER = "the server ended it"


@dataclass(frozen=True, slots=True)
class Opening:
    """An attempt to open the inbox, or to fetch from it."""

    at: float
    refused: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a stream of the inbox."""

    at: float
    why: End


@dataclass(frozen=True, slots=True)
class Given:
    """An item that the program was given."""

    at: float
    sequence: int
    case_id: str
    fact: str
    """The short name of its type, for example "Submitted"."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An acknowledgement."""

    at: float
    sequence: int


@dataclass(frozen=True, slots=True)
class PutOff:
    """A nack."""

    at: float
    sequence: int
    delay: float


@dataclass(eq=False, slots=True)
class Call:
    """A call of the program, and what it was told."""

    at: float
    method: str
    """Its short name, for example "AcceptApplication"."""
    subject: str = ""
    """The id of the task or of the case that it is about."""
    request_id: str = ""
    """Empty for a read."""
    body: bytes = b""
    """Of the whole request."""
    act: bytes = b""
    """Of what the request does: without ids, times and the version it rests on."""
    if_version: int = 0
    has_deadline: bool = True
    done_at: float = 0.0
    code: str = ""
    """The gRPC code that the program was told; empty where it was told nothing."""
    reason: str = ""
    message: str = ""
    retry_after: float | None = None
    took_effect: bool = False

    @property
    def what(self) -> bytes:
        """An act that can be done once, by its method; steps and the like are many, and told apart by what they say."""
        return self.method.encode() + (self.act if self.method in SEVERAL else b"")

    @property
    def is_unanswered(self) -> bool:
        """Whether the program cannot know what became of it."""
        return self.code in ("", "UNAVAILABLE", "DEADLINE_EXCEEDED")


@dataclass(frozen=True, slots=True)
class Exit:
    """An end of the program's process."""

    at: float
    status: int
    killed: bool


@dataclass(eq=False)
class Seen:
    """Everything that was seen, in the order in which it happened."""

    cases: dict[str, Scene] = field(default_factory=dict)
    """The suite's cases by id."""
    openings: list[Opening] = field(default_factory=list)
    ends: list[Ended] = field(default_factory=list)
    given: list[Given] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    put_off: list[PutOff] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    closed: list[tuple[float, float]] = field(default_factory=list)
    """From when until when the inbox could not be opened."""
    until: float = 0.0
    """When watching ended."""
    started_programs: bool = False
    """Whether the suite ran the program itself."""

    @property
    def latest(self) -> float:
        """When the program was last seen to do something."""
        moments = [call.done_at or time.monotonic() for call in self.calls[-20:]]
        for events in (self.openings, self.acknowledged, self.put_off, self.given):
            moments += [events[-1].at] if events else []
        return max(moments, default=0.0)

    def commands(self, subject: str = "") -> Iterator[Call]:
        """Calls that change something; those of one case or task where it is named."""
        return (call for call in self.calls if call.request_id and (not subject or call.subject == subject))

    def givings(self, case_id: str, fact: str = "Submitted") -> list[Given]:
        """How often, and when, the program was given such an item of a case."""
        return [given for given in self.given if (given.case_id, given.fact) == (case_id, fact)]

    @property
    def is_open(self) -> bool:
        """Whether the program has the inbox, or fetches from it."""
        opened = max((opening.at for opening in self.openings if not opening.refused), default=0.0)
        return opened > max((end.at for end in self.ends), default=0.0)

    def is_put_off(self, sequence: int) -> bool:
        """Whether the program wants to see the item later only."""
        until = max((each.at + each.delay for each in self.put_off if each.sequence == sequence), default=0.0)
        return until > (self.until or time.monotonic())

    def unacknowledged(self) -> list[Given]:
        """Items that were never acknowledged, or not again when they came again; not those that are put off.

        What came again on a stream that was lost may never have arrived.
        """
        latest = {given.sequence: given for given in self.given if not self.is_put_off(given.sequence)}
        said = {each.sequence: each.at for each in self.acknowledged}
        lost = max((end.at for end in self.ends if end.why is not End.TAKEN_OVER), default=0.0)
        return [
            given
            for given in latest.values()
            if given.sequence not in said or (said[given.sequence] < given.at and lost < given.at)
        ]
