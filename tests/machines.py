"""The rules of the three subsystems at work in memory, on the ways on which facts travel, without a database.

A machine does with a stream what the kernel does, and checks on the way that rules only read, and that the journal
alone gives the state again.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid5

from google.protobuf.message import Message

from bridge.record import Arrival, Record
from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from servers.kernel.batch import MAX_COMMANDED_BYTES, MAX_EVENT_BYTES, check_size, with_causes
from servers.kernel.stream import Facts, Scope, StreamKey

NAMESPACE = UUID("6f0e1c58-7a0b-4c86-9f0e-2f4f3c8a9d10")


def _id(namespace: UUID, name: str) -> str:
    return str(uuid5(namespace, name))


START = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
"""Nine in the morning in Chongqing, a Monday."""


@dataclass
class Clock:
    now: datetime = START

    def advance(self, **time: float) -> datetime:
        self.now += timedelta(**time)
        return self.now


def snapshot(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


@dataclass
class Live:
    state: Any
    version: int = 0
    last: tuple[str, ...] = ()


@dataclass
class Machine:
    """One subsystem with its streams."""

    origin: str
    streams: Sequence[Any]
    clock: Clock
    journal: list[Record] = field(default_factory=list)
    live: dict[StreamKey, Live] = field(default_factory=dict)
    inboxes: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    parked: list[Record] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    known: set[str] = field(default_factory=set)

    def rules(self, key: StreamKey) -> Any:
        return next(stream for stream in self.streams if stream.kind == key.kind)

    def of(self, key: StreamKey) -> Live:
        return self.live.setdefault(key, Live(self.rules(key).state()))

    def cases(self) -> list[case_pb2.Case]:
        states = (live.state for live in self.live.values())
        return [state.case for state in states if "case" in state.DESCRIPTOR.fields_by_name and state.case.case_id]

    def states(self, kind: str) -> dict[str, Any]:
        """The states of one kind of stream, by id."""
        return {key.id: live.state for key, live in self.live.items() if key.kind == kind}

    def execute(self, command: Message, caller: Identity) -> Any:
        """Decide a command, journal what follows, and answer; raises Refused."""
        ids = (_id(NAMESPACE, f"{self.origin}/{len(self.journal)}/{index}") for index in count())
        scope = Scope(self.clock.now, ids.__next__, self._next_number, caller)
        rules = next(stream for stream in self.streams if type(command) in stream.commands)
        key = self._stored(rules.target(command, scope))
        live = self.live.get(key) or Live(rules.state())
        before = snapshot(live.state)
        try:
            facts = rules.decide(live.state, command, scope)
        finally:
            assert snapshot(live.state) == before, "decide changed the state"
        self.live[key] = live
        return rules.reply(command, self._append(key, facts, live.last, scope, MAX_COMMANDED_BYTES))

    def pass_time(self) -> None:
        """Every timer that is due has its effect."""
        for key, live in list(self.live.items()):
            rules = self.rules(key)
            for name, due in sorted(rules.timers(live.state).items(), key=lambda timer: timer[1]):
                # What an earlier one did may have cleared it.
                if due <= self.clock.now and name in rules.timers(live.state):
                    self._expire(key, live, name)

    def _expire(self, key: StreamKey, live: Live, name: str) -> None:
        (cause,) = live.last
        ids = (_id(UUID(cause), f"{key}/{index}") for index in count())
        scope = Scope(self.clock.now, ids.__next__, self._next_number)
        self._append(key, self.rules(key).expire(live.state, name, scope), live.last, scope)

    def _stored(self, key: StreamKey) -> StreamKey:
        """A key that does not know its case is that of a stream that is there."""
        found = [one for one in self.live if not key.case_id and (one.kind, one.id) == (key.kind, key.id)]
        return found[0] if found else key

    def absorb(self, record: Record, arrival: Arrival) -> None:
        """Take a record in from elsewhere, once."""
        if record.event_id in self.known:
            return
        keys = self.concerned(record)
        if not keys:
            return
        if not all(self.rules(key).may_say(self.of(key).state, record) for key in keys):
            self.parked.append(record)
            return
        record = record._replace(arrival=arrival, position=len(self.journal) + 1)
        self._take(record)
        self._meet(keys, record)

    def concerned(self, record: Record) -> list[StreamKey]:
        return [key for stream in self.streams for key in stream.concerned(record)]

    def _take(self, record: Record) -> None:
        self.journal.append(record)
        self.known.add(record.event_id)

    def _meet(self, keys: Sequence[StreamKey], record: Record) -> None:
        for key in keys:
            self._evolve(key, record)
        for key in keys:
            self._react(key, record)

    def _react(self, key: StreamKey, record: Record) -> None:
        ids = (_id(UUID(record.event_id), f"{key}/{index}") for index in count())
        scope = Scope(self.clock.now, ids.__next__, self._next_number)
        live = self.of(key)
        before = snapshot(live.state)
        facts = self.rules(key).react(live.state, record, scope)
        assert snapshot(live.state) == before, "react changed the state"
        self._append(key, facts, (record.event_id,), scope)

    def _append(
        self, key: StreamKey, facts: Facts, causes: tuple[str, ...], scope: Scope, most: int = MAX_EVENT_BYTES
    ) -> list[Record]:
        records: list[Record] = []
        for given in facts:
            fact, led_to_it = with_causes(given, causes, records)
            body = fact.SerializeToString()
            check_size(body, most)
            record = Record(
                event_id=scope.new_id(),
                origin=self.origin,
                case_id=key.case_id,
                stream=str(key),
                version=self.of(key).version + 1,
                causes=led_to_it,
                recorded_at=scope.now,
                type=fact.DESCRIPTOR.full_name,
                body=body,
                fact=fact,
                position=len(self.journal) + 1,
            )
            self._take(record)
            records.append(record)
            self._evolve(key, record)
            self._meet([other for other in self.concerned(record) if other != key], record)
        return records

    def _evolve(self, key: StreamKey, record: Record) -> None:
        live, rules = self.of(key), self.rules(key)
        live.version += 1
        live.last = (record.event_id,)
        rules.evolve(live.state, record, live.version)
        for receiver in rules.receivers(live.state, record):
            self.inboxes[receiver].append(record)

    def _next_number(self, name: str) -> int:
        self.counters[name] += 1
        return self.counters[name]

    def folded_again(self, key: StreamKey) -> bytes:
        """The state that the journal alone gives."""
        rules = self.rules(key)
        state, version = rules.state(), 0
        for record in self.journal:
            if record.stream == str(key) or key in rules.concerned(record):
                version += 1
                rules.evolve(state, record, version)
        return snapshot(state)


class Way:
    """A way from one journal to another: in order, at least once, at any time."""

    def __init__(self, source: list[Record], sink: Machine, arrival: Arrival) -> None:
        self.source, self.sink, self.arrival = source, sink, arrival
        self.delivered = 0

    @property
    def waiting(self) -> int:
        return len(self.source) - self.delivered

    def deliver(self) -> None:
        """The next one, if there is one."""
        if self.waiting:
            self.sink.absorb(self.source[self.delivered], self.arrival)
            self.delivered += 1

    def go_back(self, steps: int) -> None:
        """An acknowledgement was lost: everything since comes again."""
        self.delivered = max(0, self.delivered - steps)


class Relay:
    """Publishes a journal's own rows, and those that came by an inbox, to the topic."""

    def __init__(self, machine: Machine, topic: list[Record]) -> None:
        self.machine, self.topic = machine, topic
        self.published = 0

    @property
    def waiting(self) -> int:
        return len(self.machine.journal) - self.published

    def deliver(self) -> None:
        """The next row."""
        if self.waiting:
            record = self.machine.journal[self.published]
            self.published += 1
            if record.arrival != Arrival.KAFKA:
                self.topic.append(record)

    def go_back(self, steps: int) -> None:
        """It was killed before it could store how far it was: rows are published twice."""
        self.published = max(0, self.published - steps)


class Mesh:
    """Intake, the center and a department, with a topic between them."""

    def __init__(self, intake: Machine, governance: Machine, department: Machine, clock: Clock) -> None:
        self.intake, self.governance, self.department, self.clock = intake, governance, department, clock
        topic: list[Record] = []
        self.ways: list[Way | Relay] = [
            Way(intake.inboxes[f"service/{governance.origin}"], governance, Arrival.INBOX),
            Relay(governance, topic),
            Relay(department, topic),
            Way(topic, department, Arrival.KAFKA),
            Way(topic, governance, Arrival.KAFKA),
            Way(governance.inboxes[f"service/{intake.origin}"], intake, Arrival.INBOX),
        ]

    @property
    def machines(self) -> tuple[Machine, Machine, Machine]:
        return self.intake, self.governance, self.department

    def settle(self) -> None:
        """Everything that is on its way arrives."""
        while any(way.waiting for way in self.ways):
            for way in self.ways:
                way.deliver()
