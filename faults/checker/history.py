"""What a run has left behind, as the checker sees it: what callers were told, journals, topic, deliveries, spans."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from cryptography import x509
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

from faults.checker.marks import marks_in
from ronghe.case.v1.case_pb2 import Case
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration
from ronghe.event.v1 import event_pb2  # noqa: F401 - makes the facts known by name


class Kind(Enum):
    """What can be wrong."""

    LOST = "lost"
    DOUBLED = "doubled"
    REORDERED = "reordered"
    ALTERED = "altered"
    STUCK = "stuck"
    MISROUTED = "misrouted"
    DISCLOSED = "disclosed"
    INVENTED = "invented"
    DISCONNECTED = "disconnected"
    UNSENT = "unsent"
    """Had not left a subsystem when its database was lost: it is named, and not promised."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    kind: Kind
    where: str
    what: str
    case_id: str = ""


@dataclass(frozen=True)
class Event:
    """A fact with its envelope, from wherever it was read; equal only if every byte is."""

    id: str
    origin: str
    case_id: str
    """On the topic, the key of its message."""
    stream: str
    version: int
    causes: tuple[str, ...]
    type: str
    """Full name of the message."""
    recorded_at: int
    """Microseconds since 1970."""
    body: bytes

    @property
    def name(self) -> str:
        """For example "Submitted"."""
        return self.type.rpartition(".")[2]

    @property
    def is_head(self) -> bool:
        """Whether it is a signed head of its origin's journal, and so belongs to no case."""
        return self.name == "JournalHead"

    @cached_property
    def fact(self) -> Any:
        """The parsed body."""
        return parse(self.type, self.body)


@dataclass(frozen=True, slots=True)
class Row:
    """A journal's row."""

    position: int
    event: Event
    epoch: int
    taken_at: int
    arrival: int
    call: str | None
    body_digest: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class InboxRow:
    """An inbox's row; `position` is that of the journal."""

    receiver: str
    sequence: int
    position: int
    case_id: str
    is_acknowledged: bool


@dataclass(frozen=True)
class Journal:
    """One subsystem's database."""

    subsystem: str
    """ "intake", "governance" or "department"."""
    rows: Sequence[Row]
    head: tuple[int, bytes]
    """Position and hash that the database names as its last."""
    inbox: Sequence[InboxRow] = ()
    last_sequences: Mapping[str, int] = field(default_factory=dict)
    published: int | None = None
    """Position up to which the relay has published; None where nothing is published from here."""
    set_aside: Sequence[tuple[str, str]] = ()
    """Event and case id of open dead letters, as far as they could be read."""
    letters: Sequence[tuple[str, str]] = ()
    """The same of all dead letters, also of those that were redriven or given up."""
    overdue_timers: Sequence[str] = ()
    """Streams whose timers should have gone off."""
    cases: Mapping[str, Case] = field(default_factory=dict)
    """The view of each case."""
    collaborations: Mapping[str, Collaboration] = field(default_factory=dict)
    """The view of each collaboration; intake is told of none."""
    epoch: int = 1
    """Grows with every restore; sequences of inboxes belong to it."""

    @cached_property
    def events(self) -> Mapping[str, Event]:
        """By id."""
        return {row.event.id: row.event for row in self.rows}

    @cached_property
    def by_position(self) -> Mapping[int, Event]:
        """By position."""
        return {row.position: row.event for row in self.rows}

    @cached_property
    def hashes(self) -> Mapping[int, bytes]:
        """Of each row, by position."""
        return {row.position: row.hash for row in self.rows}


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """A message on the topic."""

    partition: int
    offset: int
    event: Event


@dataclass(frozen=True, slots=True)
class Delivery:
    """An inbox item as its receiver got it."""

    subsystem: str
    receiver: str
    sequence: int
    event: Event
    epoch: int = 1


@dataclass(frozen=True, slots=True)
class Shown:
    """What a party was given when it asked."""

    party: str
    case_id: str
    """That it asked for; empty where it did not name one."""
    answer: Message


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a caller, with all its repeats."""

    caller: str
    command: str
    """Short name, for example "AcceptApplicationRequest"."""
    mark: str
    """Stands in the request's `actor`, and so in the fact that it leads to."""
    body: bytes
    answers: Sequence[Message] = ()
    """Of each OK."""
    refusal: str = ""
    """The reason of a refusal for good."""
    again: bool = False
    """It was acknowledged, and once more when it was sent again after a database had been lost."""
    spoiled: bool = False
    """Said at random, wrong in a place or about a case that is elsewhere: whatever it is refused for may be right."""


@dataclass(frozen=True, slots=True)
class Span:
    """An exported span of a case; ids as hexadecimal text."""

    trace: str
    id: str
    parent: str
    name: str
    ended_at: float = 0.0
    """Seconds since 1970, by the machine's clock."""


@dataclass(frozen=True)
class History:
    """Everything the checker judges by."""

    requests: Sequence[Request]
    journals: Mapping[str, Journal]
    topic: Sequence[TopicRecord]
    deliveries: Sequence[Delivery]
    shown: Sequence[Shown] = ()
    spans: Sequence[Span] = ()
    poison: frozenset[str] = frozenset()
    """Ids of events that the campaign itself has forged."""
    republished: bool = False
    """The topic was made anew: each deployment has published its own journal again, beside the others."""
    lost: Sequence[Journal] = ()
    """Databases that were lost, and put back from a backup: as they were when they were lost."""
    unsent: Mapping[str, Event] = field(default_factory=dict)
    """Events, by id, that then stood nowhere else."""
    authority: x509.Certificate | None = None
    """Of the mesh; where it is not known, nothing can be said of signatures."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What was written beside journals and topic, by name: logs and spans."""
    whole: bool = False
    """Everything of a mesh from its start until it had settled: then every journal has signed heads."""

    @cached_property
    def own(self) -> Mapping[str, Event]:
        """Every event as its origin's journal has it, by id."""
        return {
            row.event.id: row.event
            for journal in self.journals.values()
            for row in journal.rows
            if row.event.origin.partition("-")[0] == journal.subsystem and row.event.id not in self.poison
        }

    @cached_property
    def effects(self) -> Mapping[str, Sequence[Event]]:
        """Mark of a request -> the events that bear it, as their origins' journals have them."""
        found: dict[str, list[Event]] = {}
        for journal in self.journals.values():
            for row in journal.rows:
                if row.event.origin.partition("-")[0] == journal.subsystem:
                    for mark in marks_in(row.event.body):
                        found.setdefault(mark, []).append(row.event)
        return found

    @cached_property
    def by_case(self) -> Mapping[str, Sequence[Event]]:
        """The events of each case, those of each origin in their order."""
        found: dict[str, list[Event]] = {}
        for event in self.own.values():
            if not event.is_head:
                found.setdefault(event.case_id, []).append(event)
        return found

    @cached_property
    def submissions(self) -> Mapping[str, Event]:
        """The first event of each case."""
        return {event.case_id: event for event in self.own.values() if event.name == "Submitted"}


def parse(type_name: str, body: bytes) -> Any:
    """A message of the contract by its full name."""
    descriptor = descriptor_pool.Default().FindMessageTypeByName(type_name)
    return message_factory.GetMessageClass(descriptor).FromString(body)
