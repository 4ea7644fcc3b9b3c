"""One transaction's work, in memory: states are loaded once, units change them in turn, all is written at the end."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Any
from uuid import UUID, uuid5

from google.protobuf.message import Message
from sqlalchemy import Connection, select

from bridge.record import Arrival, Record
from clients.identity import Identity
from clients.telemetry import SpanContext, format_traceparent
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel import journal, tables
from servers.kernel.database import Database, read_rows, write_rows
from servers.kernel.derived import request_of
from servers.kernel.inbox import Acknowledgement, Item, Receiver
from servers.kernel.live import KeptStreams, LiveStream
from servers.kernel.statements import Statements
from servers.kernel.stream import Caused, Facts, Refused, Scope, StreamKey
from servers.kernel.subsystem import Subsystem
from servers.kernel.times import from_micros, to_micros

MAX_EVENT_BYTES = 256 * 1024
MAX_COMMANDED_BYTES = MAX_EVENT_BYTES - 8 * 1024
"""Of an event that a command causes: what follows by itself may repeat it with more beside it, and is never refused."""
# Each epoch counts in a range of its own: what an earlier one gave out after its last backup is known to nobody. The
# case number's ten digits have room for a hundred of them, so a range comes again after a hundred restores; a counter
# of a day is another one by then.
NUMBERS_OF_AN_EPOCH = 100_000_000
RANGES = 100


@dataclass(frozen=True, slots=True)
class Taken:
    """A record this batch puts into the journal, with the call it came by."""

    record: Record
    call: SpanContext | None
    started_at: int
    """When work on it began, nanoseconds since 1970."""


@dataclass
class Batch:
    """The open transaction. A unit reads and appends here; `write` makes everything rows."""

    connection: Connection
    database: Database
    statements: Statements
    subsystem: Subsystem
    now: datetime
    recorded_at: datetime
    """`now`, unless the journal's last row is later."""
    epoch: int
    position: int
    hash: bytes
    kept: KeptStreams

    streams: dict[str, LiveStream] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    effects: int = 0
    """Rows that were taken and states that took something in: what fails after one of them must be undone."""
    known_events: set[tuple[str, str]] = field(default_factory=set)
    parked_cases: set[str] = field(default_factory=set)
    set_aside: dict[str, set[tuple[str, str, bytes]]] = field(default_factory=lambda: defaultdict(set))
    """Event id, origin and digest of what was ever set aside, by case."""
    requests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    new_requests: list[dict[str, Any]] = field(default_factory=list)
    relearned_requests: list[dict[str, Any]] = field(default_factory=list)
    deliveries: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    delivered: dict[str, list[Item]] = field(default_factory=dict)
    """The deliveries as items of their inboxes, once they are written."""
    receivers: dict[str, Receiver] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    """Those that take a receiver's inbox over."""
    acknowledged: list[dict[str, Any]] = field(default_factory=list)
    put_off: list[dict[str, Any]] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    parked: list[dict[str, Any]] = field(default_factory=list)
    raw_facts: list[dict[str, Any]] = field(default_factory=list)
    originals: Mapping[str, Record] = field(default_factory=dict)
    """By id: what this deployment said before it was restored from a backup. See relearning.py."""

    # --- reading ---

    def load(self, keys: Iterable[StreamKey]) -> None:
        """Load the states of these streams that are not loaded yet; those that are not kept by one query a kind."""
        wanted: dict[str, dict[str, StreamKey]] = defaultdict(dict)
        for key in keys:
            name = str(key)
            if name in self.streams:
                continue
            live = self.kept.take(name)
            if live is None:
                wanted[key.kind][key.id] = key
            else:
                self.streams[name] = live
        for kind, named in wanted.items():
            rules = self.subsystem.streams[kind]
            # One that cannot be read is not among them: whoever needs it fails, each time.
            for name, *row in self._found(self.statements.streams[kind].load, named):
                self.streams[f"{kind}/{name}"] = self._revived(named.pop(name), row)
            for key in named.values():
                self.streams[str(key)] = LiveStream(key, rules, rules.state())

    def _revived(self, key: StreamKey, row: Sequence[Any]) -> LiveStream:
        """The stream of a row as `StreamStatements.load` selects it."""
        case_id, version, fold_version, last_event_id, snapshot, *indexed = row
        rules = self.subsystem.streams[key.kind]
        live = LiveStream(
            key if key.case_id == case_id else replace(key, case_id=case_id),
            rules,
            rules.state.FromString(snapshot),
            version,
            last_event_id,
            tuple(indexed),
            size=len(snapshot),
        )
        live.timers = live.rules.timers(live.state)
        live.figures = live.rules.figures(live.state)
        live.parties = frozenset(live.rules.parties(live.state))
        # What a replica of a later version has stored is taken as it is: what is not known here survives in it.
        if fold_version < live.rules.fold_version:
            self._fold_again(live)
        return live

    def _fold_again(self, live: LiveStream) -> None:
        """The rules of folding have changed since the state was stored: take it from the journal."""
        live.timers = self._stored_timers(live)
        live.state.Clear()
        for version, record in enumerate(self._taken_in(live), 1):
            live.rules.evolve(live.state, record, version)
            live.version = version
        live.changed = True

    def _stored_timers(self, live: LiveStream) -> Mapping[str, datetime]:
        """Other rules may have set them."""
        columns = tables.timer.c
        statement = select(columns.name, columns.due_at).where(columns.stream == str(live.key))
        return {row.name: from_micros(row.due_at) for row in self.connection.execute(statement)}

    def _taken_in(self, live: LiveStream) -> list[Record]:
        """Every record that the stream has taken in, in order: the first is version 1."""
        records = [*journal.of_case(self.connection, live.key.case_id), *(taken.record for taken in self.taken)]
        records = journal.in_order_of_taking(self.connection, live.key.case_id, records)
        return [
            record for record in records if record.stream == str(live.key) or live.key in live.rules.concerned(record)
        ]

    def types_since(self, live: LiveStream, version: int) -> list[str]:
        """Short names of the facts that the stream has taken in after a version."""
        return [record.type.rpartition(".")[2] for record in self._taken_in(live)[version:]]

    def stream(self, key: StreamKey) -> LiveStream:
        """The stream, loaded if need be."""
        live = self.streams.get(str(key))
        if live is None:
            self.load([key])
            live = self.streams[str(key)]
        return live

    def load_events(self, records: Iterable[Record]) -> None:
        """Learn which of these records the journal has already."""
        rows = self._found(self.statements.known_events, [record.event_id for record in records])
        self.known_events.update((event_id, origin) for event_id, origin in rows)

    def load_parked(self, case_ids: Iterable[str]) -> None:
        """Learn what was set aside of these cases, and which of them wait."""
        rows = self._found(self.statements.set_aside, set(case_ids))
        for case_id, event_id, origin, digest, settled_at in rows:
            self.set_aside[case_id].add((event_id, origin, digest))
            if settled_at is None:
                self.parked_cases.add(case_id)

    def load_requests(self, keys: Iterable[str]) -> None:
        """Learn which of these requests were answered before."""
        rows = self._found(self.statements.requests, list(keys))
        self.requests.update((key, (digest, positions)) for key, digest, positions in rows)

    def load_receivers(self, names: Iterable[str]) -> None:
        """Learn how far these inboxes are, and which session has them."""
        wanted = set(names) - self.receivers.keys()
        self.receivers.update((name, Receiver()) for name in wanted)
        for name, last_sequence, session, epoch in self._found(self.statements.receivers, wanted):
            self.receivers[name] = Receiver(last_sequence, session, epoch)

    def _found(self, statement: str, keys: Collection[str]) -> Sequence[tuple[Any, ...]]:
        if not keys:
            return ()
        return read_rows(self.connection, statement, {"keys": self.database.keys(keys)})

    def knows(self, record: Record) -> bool:
        """Whether the journal, or this batch, has the record."""
        return (record.event_id, record.origin) in self.known_events

    def was_set_aside(self, record: Record) -> bool:
        """Whether this very record was set aside before: it waits, was redriven, or was given up."""
        before = self.set_aside.get(record.case_id)
        if not before:
            return False
        return (record.event_id, record.origin, hashlib.sha256(record.body).digest()) in before

    def was_parked(self, row: dict[str, Any]) -> bool:
        """The same of what has a row already, and may be no record."""
        before = self.set_aside.get(row["case_id"], ())
        return bool(row["event_id"]) and (row["event_id"], row["origin"], row["digest"]) in before

    def park(self, row: dict[str, Any]) -> None:
        """Set a record aside; its case waits from now on."""
        self.parked.append(row | {"parked_at": to_micros(self.now)})
        if row["case_id"]:
            self.parked_cases.add(row["case_id"])
            self.set_aside[row["case_id"]].add((row["event_id"], row["origin"], row["digest"]))

    # --- rules at work ---

    def scope(self, caller: Identity, request: str) -> Scope:
        """What the rules of a command may use: a repeat makes the same ids again."""
        return Scope(now=self.now, new_id=ids_after(request), next_number=self.next_number, caller=caller)

    def scope_after(self, cause: str, key: StreamKey) -> Scope:
        """What the rules of a reaction or a timer may use: the same."""
        return Scope(now=self.now, new_id=ids_after(cause, f"{key}/"), next_number=self.next_number)

    def next_number(self, name: str) -> int:
        """Count on within this epoch's range, in this transaction. Raises Refused where it is used up."""
        before = (self.epoch - 1) % RANGES * NUMBERS_OF_AN_EPOCH
        last = before + NUMBERS_OF_AN_EPOCH - 1
        value = self.counters.get(name)
        if value is None:
            value = next((given for _, given in self._found(self.statements.counters, [name])), before)
        if not before <= value <= last:
            value = before  # it was given in another epoch
        if value == last:
            raise Refused(Reason.REASON_OVERLOADED, f"all numbers of {name} were given out")
        self.counters[name] = value + 1
        return value + 1

    def open_session(self, name: str, session: str, epoch: int) -> bool:
        """From now on only this session may acknowledge; whether its epoch is a later one: see voiding.py."""
        self.load_receivers([name])
        receiver = self.receivers[name]
        receiver.session, receiver.changed = session, True
        self.sessions[name] = session
        return epoch > receiver.epoch

    def acknowledge(self, said: Acknowledgement) -> None:
        """Take what a receiver says about items of its inbox; raises Refused."""
        self.load_receivers([said.receiver])
        said.check(self.receivers[said.receiver])
        now = to_micros(self.now)
        self.acknowledged += [
            {"acknowledged_at": now, "key_receiver": said.receiver, "key_sequence": sequence}
            for sequence in said.sequences
        ]
        self.put_off += [
            {"not_before": until, "key_receiver": said.receiver, "key_sequence": sequence}
            for sequence, until in said.put_off
        ]

    def append(
        self,
        live: LiveStream,
        facts: Facts,
        causes: tuple[str, ...],
        new_id: Callable[[], str],
        call: SpanContext | None,
        started_at: int,
        most: int = MAX_EVENT_BYTES,
    ) -> list[Record]:
        """Journal own facts of a stream, each under a new id, and let every stream they concern react.

        Raises Refused, TOO_LARGE, where a fact has more than `most` bytes.
        """
        records: list[Record] = []
        for given in facts:
            fact, led_to_it = with_causes(given, causes, records)
            record = self._as_it_was(self._own_record(live, fact, led_to_it, new_id(), most))
            records.append(record)
            if self.knows(record):
                continue
            others = self._others(record, live)
            self._take(record, call, started_at)
            self._evolve(live, record)
            self._meet(others, record, call, started_at)
        return records

    def take_in(self, record: Record, keys: Sequence[StreamKey], started_at: int) -> None:
        """Journal a record from elsewhere, and let every stream it concerns react."""
        record = record._replace(position=self._next_position())
        lives = [self.stream(key) for key in keys]
        self._take(record, None, started_at)
        if record.fact is None:
            self.raw_facts.append({"position": record.position, "case_id": record.case_id, "type": record.type})
        self._meet(lives, record, None, started_at)

    def remember_request(self, event_id: str) -> None:
        """The own event that is taken in next is learned again; so is the request that led to it, but for its body."""
        request = request_of(event_id)
        if request is not None:
            positions = str(self._next_position())
            self.relearned_requests.append({"key": request, "digest": b"", "positions": positions})

    def take_in_late(self, record: Record, keys: Sequence[StreamKey], started_at: int) -> int:
        """Let streams take in what was journaled when its type was not known; gives the row they take it in behind."""
        after = self.position + len(self.taken)
        self.effects += 1  # it is marked as met, also where it concerns nobody any more
        self._meet([self.stream(key) for key in keys], record, None, started_at)
        return after

    def _own_record(self, live: LiveStream, fact: Message, causes: tuple[str, ...], event_id: str, most: int) -> Record:
        body = fact.SerializeToString()
        check_size(body, most)
        return Record(
            event_id=event_id,
            origin=self.subsystem.origin,
            case_id=live.key.case_id,
            stream=str(live.key),
            version=live.version + 1,
            causes=causes,
            recorded_at=self.recorded_at,
            type=fact.DESCRIPTOR.full_name,
            body=body,
            fact=fact,
            arrival=Arrival.OWN,
            position=self._next_position(),
        )

    def _as_it_was(self, record: Record) -> Record:
        """What is said again after a restore is what was said: everybody else has that."""
        original = self.originals.get(record.event_id)
        if original is None:
            return record
        self.load_events([original])  # it may have been learned before what it follows from
        return original._replace(position=record.position)

    def _next_position(self) -> int:
        return self.position + len(self.taken) + 1

    def _take(self, record: Record, call: SpanContext | None, started_at: int) -> None:
        self.taken.append(Taken(record, call, started_at))
        self.effects += 1
        self.known_events.add((record.event_id, record.origin))

    def _evolve(self, live: LiveStream, record: Record) -> None:
        self.effects += 1
        live.version += 1
        live.last_event_id = record.event_id
        live.changed = True
        live.rules.evolve(live.state, record, live.version)
        for name in live.rules.receivers(live.state, record):
            self.deliveries[name].append(record)

    def _others(self, record: Record, own: LiveStream) -> list[LiveStream]:
        """Loaded before the record is taken: a state that is folded again must not find it already."""
        keys = self.subsystem.concerned(record)
        return [self.stream(key) for key in keys if str(key) != str(own.key)]

    def _meet(self, lives: Sequence[LiveStream], record: Record, call: SpanContext | None, started_at: int) -> None:
        """All take the record in before any reacts: every stream sees a cause before its effects, as in the journal."""
        for live in lives:
            self._evolve(live, record)
        for live in lives:
            if record.origin == self.subsystem.origin and record.stream == str(live.key):
                continue  # its own word, learned again: it does not react to itself
            scope = self.scope_after(record.event_id, live.key)
            facts = live.rules.react(live.state, record, scope)
            self.append(live, facts, (record.event_id,), scope.new_id, call, started_at)

    # --- writing ---

    def write(self) -> None:
        """Make everything this batch did rows of the open transaction."""
        self._write_journal()
        self._write_streams()
        self._write_inboxes()
        if self.new_requests:
            write_rows(self.connection, self.statements.insert_request, self.new_requests)
        if self.relearned_requests:
            write_rows(self.connection, self.statements.add_to_request, self.relearned_requests)
        if self.counters:
            counters = [{"name": name, "value": value} for name, value in self.counters.items()]
            write_rows(self.connection, self.statements.upsert_counter, counters)
        if self.parked:
            write_rows(self.connection, self.statements.insert_dead_letter, self.parked)
        if self.raw_facts:
            write_rows(self.connection, self.statements.insert_raw_fact, self.raw_facts)

    def _write_journal(self) -> None:
        if not self.taken:
            return
        taken_at = to_micros(self.recorded_at)
        rows = []
        for taken in self.taken:
            call = format_traceparent(taken.call) if taken.call else None
            row = journal.to_row(taken.record, epoch=self.epoch, taken_at=taken_at, call=call, previous=self.hash)
            self.hash = row["hash"]
            rows.append(row)
        self.position = rows[-1]["position"]
        write_rows(self.connection, self.statements.insert_journal, rows)
        head = {"position": self.position, "hash": self.hash, "key_id": 1}
        write_rows(self.connection, self.statements.update_head, [head])

    def _write_streams(self) -> None:
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """By statement."""
        set_timers: list[dict[str, Any]] = []
        cleared: list[dict[str, Any]] = []
        for name, live in self.streams.items():
            if not live.changed:
                continue
            row, statements = _stream_row(live), self.statements.streams[live.key.kind]
            indexed = tuple(row[name] for name in statements.indexed)
            rows[statements.upsert if live.indexed != indexed else statements.update].append(row)
            wanted = dict(live.rules.timers(live.state))
            set_timers += [
                {"stream": name, "name": timer, "case_id": live.key.case_id, "due_at": to_micros(due)}
                for timer, due in wanted.items()
                if live.timers.get(timer) != due
            ]
            cleared += [{"key_stream": name, "key_name": timer} for timer in live.timers.keys() - wanted.keys()]
            live.indexed, live.timers, live.size = indexed, wanted, len(row["snapshot"])
        for statement, stream_rows in rows.items():
            write_rows(self.connection, statement, stream_rows)
        self._write_parties()
        self._add_figures()
        if set_timers:
            write_rows(self.connection, self.statements.upsert_timer, set_timers)
        if cleared:
            write_rows(self.connection, self.statements.delete_timer, cleared)
        for live in self.streams.values():
            live.changed = False

    def _write_parties(self) -> None:
        rows: list[dict[str, str]] = []
        for live in self.streams.values():
            if live.changed:
                parties = frozenset(live.rules.parties(live.state))
                new = sorted(parties - live.parties)
                rows += [{"kind": live.key.kind, "party": party, "id": live.key.id} for party in new]
                live.parties = parties
        if rows:
            write_rows(self.connection, self.statements.insert_party, rows)

    def _add_figures(self) -> None:
        """The counters of the figures that the streams add to, as they are now."""
        difference: Counter[str] = Counter()
        for live in self.streams.values():
            if live.changed:
                figures = live.rules.figures(live.state)
                difference.update(figures)
                difference.subtract(live.figures)
                live.figures = figures
        changed = {name: number for name, number in difference.items() if number}
        if not changed:
            return
        stored = dict(self._found(self.statements.counters, changed))
        self.counters |= {name: stored.get(name, 0) + number for name, number in changed.items()}

    def _write_inboxes(self) -> None:
        if self.deliveries:
            self._deliver()
        receivers = [
            {
                "name": name,
                "last_sequence": receiver.last_sequence,
                "session": receiver.session,
                "epoch": receiver.epoch,
            }
            for name, receiver in self.receivers.items()
            if receiver.changed
        ]
        if receivers:
            write_rows(self.connection, self.statements.upsert_receiver, receivers)
        if self.acknowledged:
            write_rows(self.connection, self.statements.acknowledge, self.acknowledged)
        if self.put_off:
            write_rows(self.connection, self.statements.put_off, self.put_off)

    def _deliver(self) -> None:
        self.load_receivers(self.deliveries)
        since = to_micros(self.now)
        for name, records in self.deliveries.items():
            receiver = self.receivers[name]
            self.delivered[name] = [
                Item(sequence, since, 0, record) for sequence, record in enumerate(records, receiver.last_sequence + 1)
            ]
            receiver.last_sequence += len(records)
            receiver.changed = True
        rows = [
            {"receiver": name, "sequence": item.sequence, "position": item.record.position,
             "case_id": item.record.case_id, "since": since}
            for name, items in self.delivered.items()
            for item in items
        ]  # fmt: skip
        write_rows(self.connection, self.statements.insert_inbox, rows)


def ids_after(cause: str, name: str = "") -> Callable[[], str]:
    """Each call gives the next one of the ids that follow from an event's, or a request's, under a name."""
    numbers = count()
    return lambda: str(uuid5(UUID(cause), f"{name}{next(numbers)}"))


def check_size(body: bytes, most: int) -> None:
    """Raises Refused, TOO_LARGE."""
    if len(body) > most:
        raise Refused(
            Reason.REASON_TOO_LARGE,
            f"the event would have {len(body)} bytes, at most {most} are allowed: send less text",
        )


def with_causes(
    given: Message | Caused, led_to_all: tuple[str, ...], before: Sequence[Record]
) -> tuple[Message, tuple[str, ...]]:
    """A fact and the events that caused it."""
    if not isinstance(given, Caused):
        return given, (before[-1].event_id,) if before else led_to_all
    causes = tuple(before[cause].event_id if isinstance(cause, int) else cause for cause in given.by)
    return given.fact, causes or led_to_all


def _stream_row(live: LiveStream) -> dict[str, Any]:
    return {
        "id": live.key.id,
        "key_id": live.key.id,
        "case_id": live.key.case_id,
        "version": live.version,
        "fold_version": live.rules.fold_version,
        "last_event_id": live.last_event_id,
        "snapshot": live.state.SerializeToString(),
        **live.rules.columns(live.state),
    }
