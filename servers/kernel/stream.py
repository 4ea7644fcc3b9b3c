"""What a subsystem hands to the kernel: its streams, each a unit of state with pure rules."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message
from sqlalchemy import Table

from bridge.record import Record
from clients.identity import Identity
from ronghe.error.v1.reason_pb2 import Reason

S = TypeVar("S", bound=Message)


@dataclass(frozen=True, slots=True)
class StreamKey:
    """Names one stream; its text is `<kind>/<id>`. Every stream belongs to exactly one case."""

    kind: str
    id: str
    case_id: str = ""
    """Where it is empty, the stream's row says it: then only a stream that is there already can be meant."""

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}"


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything impure that a rule may use, handed in."""

    now: datetime
    new_id: Callable[[], str]
    """Derived from the request of a command, from the cause of a reaction or a timer: a repeat makes the same."""
    next_number: Callable[[str], int]
    """Counts 1, 2, 3 ... by name, in the transaction."""
    caller: Identity | None = None
    """None for a fact or a timer."""


@dataclass(frozen=True, slots=True)
class Caused:
    """A fact that says what caused it. A bare fact is caused by the one before it, the first by what led to all."""

    fact: Message
    by: Sequence[int | str] = ()
    """Places of earlier facts in the same sequence, and ids of earlier events; nothing: what led to all of them."""


Facts = Sequence[Message | Caused]


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of a request and what is wrong with it."""

    field: str
    description: str


@dataclass(eq=False)
class Refused(Exception):
    """A command is refused, and nothing has changed."""

    reason: "Reason.ValueType"
    message: str
    """One sentence for a person: what was wrong, where, what to do."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Sequence[FieldViolation] = ()

    def __str__(self) -> str:
        return self.message


class Stream(Protocol[S]):
    """The rules of one kind of stream. `decide`, `react` and `expire` only read; `evolve` alone changes a state.

    Rules inherit from it; what they need not say has a body here.
    """

    kind: str
    state: type[S]
    fold_version: int
    """Raise it when `evolve` changes: states are then folded again from the journal."""
    table: Table
    """Made by `servers.kernel.tables.stream_table`."""
    commands: Sequence[type[Message]] = ()
    """The commands it decides."""

    def target(self, command: Message, scope: Scope) -> StreamKey:
        """The stream a command is for; a new one where the command opens it."""
        raise _undecided(command)

    def decide(self, state: S, command: Message, scope: Scope) -> Facts:
        """The facts that follow from a command; raises Refused. An unknown stream has an empty state."""
        raise _undecided(command)

    def reply(self, command: Message, caused: Sequence[Record]) -> Message:
        """The answer to a command, from what it caused: a repeated request gets the same."""
        raise _undecided(command)

    def concerned(self, record: Record) -> Sequence[StreamKey]:
        """The streams of this kind that a record from elsewhere concerns."""

    def may_say(self, state: S, record: Record) -> bool:
        """Whether the record's origin may state this fact about this stream."""

    def react(self, state: S, record: Record, scope: Scope) -> Facts:
        """The facts that follow from a record which the stream has just taken in; never refuses."""
        return ()

    def expire(self, state: S, timer: str, scope: Scope) -> Facts:
        """The facts that follow when a timer is due; nothing when it no longer matters."""
        return ()

    def evolve(self, state: S, record: Record, version: int) -> None:
        """Take a record in, own or foreign; `version` counts the records taken in, this one included."""

    def columns(self, state: S) -> Mapping[str, Any]:
        """Values of the table's own columns: derived from the state, never decided on."""

    def timers(self, state: S) -> Mapping[str, datetime]:
        """The timers that should be set now, by name; the kernel stores the difference."""
        return {}

    def figures(self, state: S) -> Mapping[str, int]:
        """What the stream adds to the database's figures now, by name; the kernel stores the difference."""
        return {}

    def parties(self, state: S) -> AbstractSet[str]:
        """Who may see the stream beside those whom its columns name: "<kind>/<id>". It only grows."""
        return frozenset()

    def receivers(self, state: S, record: Record) -> Sequence[str]:
        """Whose inboxes get a record that this stream has taken in, own or foreign: "<kind>/<id>"."""


def _undecided(command: Message) -> TypeError:
    """A bug of rules: they name a command among theirs, and do not say what follows from it."""
    return TypeError(f"{command.DESCRIPTOR.full_name} is among the commands of rules that do not decide it")
