"""One live streaming session of a receiver: what is on its way, what waits behind it, what was put off."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration
from sqlalchemy import ColumnElement

from bridge.crash import crash_point
from bridge.pacing import Pacer
from bridge.ports import StoreUnavailable
from clients.telemetry import SpanContext, event_span_id, hop_span_id, trace_id
from ronghe.inbox.v1 import inbox_service_pb2 as pb
from servers.kernel import inbox
from servers.kernel.batch import MAX_EVENT_BYTES
from servers.kernel.inbox import Acknowledgement, Item
from servers.kernel.signals import LOOK_SECONDS, wait
from servers.kernel.times import to_micros
from servers.rpc.fitting import fitting

if TYPE_CHECKING:
    from servers.kernel.kernel import Kernel

# Read ahead of the credit, so that a busy case does not hold up the others.
READ_AHEAD = 256
# Of all that is kept here, on its way or waiting behind it, and one item more: who is silent has no more of it.
MOST_BYTES = 8 << 20
READ_AT_ONCE = 256
# At most so many cases that a receiver put off are kept track of; no more is read until some are done.
MAX_PUT_OFF = 50_000
MESSAGE_ITEMS = 200
UNSTORED_MESSAGES = 32


@dataclass(slots=True)
class _Unread:
    """Items of one case that were passed over, and are in the database only: those of these sequences."""

    first: int
    last: int


class InboxSession:
    """Gives each case's items one after another, as many cases at once as there is credit."""

    def __init__(self, kernel: "Kernel", receiver: str, opening: pb.OpenInboxRequest.Open) -> None:
        self.id = uuid4().hex
        self._kernel = kernel
        self._receiver = receiver
        self._epoch = opening.receiver_epoch
        self._credit = opening.credit
        self._cursor = max(opening.from_sequence - 1, 0)
        self._read = inbox.replayed if opening.from_sequence else inbox.waiting
        self._cases: dict[str, deque[Item]] = defaultdict(deque)
        self._loaded = self._bytes = 0
        """What `_cases` have."""
        self._ready: deque[Item] = deque()
        self._sent: dict[int, Item] = {}
        self._unread: dict[str, _Unread] = {}
        """Cases of which nothing more is kept here: what a receiver puts off shall not take the others' room."""
        self._put_off: dict[str, asyncio.TimerHandle] = {}
        self._due: deque[str] = deque()
        """Unread cases whose turn it is."""
        self._changed = asyncio.Event()
        self._more = True
        """Whether there may be items that were not read yet."""
        self._reading = False
        self._said: asyncio.Queue[pb.OpenInboxRequest.Acknowledge] = asyncio.Queue(UNSTORED_MESSAGES)
        self._storing = asyncio.create_task(self._store())
        self._failure: Exception | None = None
        self._ended = False
        self.is_open = False
        self._told = 0
        """The last sequence in the inbox that `look` has told of."""
        self._pacer = Pacer()

    async def open(self) -> None:
        """Take over from an older session, here or on another replica."""
        self._kernel.sessions.take_over(self._receiver, self)
        await self._kernel.open_session(self._receiver, self.id, self._epoch)

    def fail(self, failure: Exception) -> None:
        """Let `messages` end with the failure."""
        self._failure = self._failure or failure
        self._changed.set()

    async def end(self) -> None:
        """The receiver has said its last: store it, then let `messages` end."""
        await self._said.join()
        self._ended = True
        self._changed.set()

    def close(self) -> None:
        """Forget everything; what is not acknowledged will be given again."""
        self._storing.cancel()
        for handle in self._put_off.values():
            handle.cancel()
        self._kernel.sessions.forget(self._receiver, self)

    # --- what goes out ---

    async def messages(self) -> AsyncIterator[pb.OpenInboxResponse]:
        """Messages for the receiver, until the session ends."""
        # So that the receiver knows that it has the inbox, also where nothing waits in it.
        yield pb.OpenInboxResponse(epoch=self._kernel.epoch)
        with self._kernel.signals.inbox(self._receiver, self._grow):
            while True:
                self._changed.clear()
                await self._fill()
                if self._failure is not None:
                    raise self._failure
                if self._ended:
                    return
                items = self._take()
                if items:
                    yield pb.OpenInboxResponse(epoch=self._kernel.epoch, items=[item.to_message() for item in items])
                    self._pacer.passed(len(items))
                    await asyncio.sleep(self._pacer.delay())
                else:
                    await self._changed.wait()

    def _take(self) -> Sequence[Item]:
        return list(fitting(islice(self._sendable(), MESSAGE_ITEMS), Item.size))

    def _sendable(self) -> Iterator[Item]:
        while self._ready and len(self._sent) < self._credit:
            item = self._ready.popleft()
            self._sent[item.sequence] = item
            yield item

    @property
    def _room(self) -> int:
        return self._credit + READ_AHEAD - self._loaded

    async def _fill(self) -> None:
        while self._due and len(self._ready) < self._credit and self._bytes < MOST_BYTES:
            await self._read_case(self._due.popleft())
        while self._may_read():
            await self._read_on()
            if self._ready or self._due or self._failure or self._ended:
                return

    def _may_read(self) -> bool:
        has_room = self._room > 0 and self._bytes < MOST_BYTES
        return self._more and has_room and len(self._put_off) < MAX_PUT_OFF and len(self._ready) < self._credit

    async def _read_on(self) -> None:
        after, self._more, self._reading = self._cursor, False, True
        items, there_is_more = await self._load(after, MOST_BYTES - self._bytes)
        self._more, self._reading = self._more or there_is_more, False
        self._receive(items)

    async def _load(self, after: int, room: int, *only: ColumnElement[bool]) -> tuple[Sequence[Item], bool]:
        """Items after a sequence, one or as many bytes as there is room for; whether there may be more of them."""
        limit = self._limit(room)
        items = await self._kernel.read(
            lambda connection: list(
                fitting(self._read(connection, self._receiver, after, limit, *only), Item.size, room)
            )
        )
        return items, len(items) == limit or sum(map(Item.size, items)) >= room

    def _limit(self, room: int) -> int:
        """So many rows as have room if they are like those that are kept.

        PostgreSQL's client takes all rows of a query before it gives one: they shall not be many times what is kept.
        """
        mean = self._bytes // self._loaded if self._loaded else MAX_EVENT_BYTES
        return max(1, min(self._room, READ_AT_ONCE, room // max(mean, 1)))

    async def _read_case(self, case_id: str) -> None:
        """Read what was passed over of a case, into half of the room; its first item may go out."""
        unread = self._unread[case_id]
        after, last = unread.first - 1, unread.last
        items, there_is_more = await self._load(
            after, (MOST_BYTES - self._bytes + 1) // 2, *inbox.of_case(case_id, last)
        )
        if there_is_more:
            unread.first = items[-1].sequence + 1
        elif unread.last > last:  # more came meanwhile
            unread.first = last + 1
        else:
            del self._unread[case_id]
        if items:
            for item in items:
                self._keep(item)
            self._release(items[0])
        elif case_id in self._unread:
            self._due.append(case_id)

    def _receive(self, items: Sequence[Item]) -> None:
        for item in items:
            self._cursor, case_id = item.sequence, item.record.case_id
            if case_id in self._unread:
                self._unread[case_id].last = item.sequence
            elif case_id in self._cases and self._bytes >= MOST_BYTES // 2:
                # The other half of the room is for those of which nothing is kept yet.
                self._unread[case_id] = _Unread(item.sequence, item.sequence)
            else:
                self._keep(item)
                if len(self._cases[case_id]) == 1:
                    self._release(item)

    def _keep(self, item: Item) -> None:
        self._cases[item.record.case_id].append(item)
        self._loaded += 1
        self._bytes += item.size()

    def _forget(self, item: Item) -> None:
        self._loaded -= 1
        self._bytes -= item.size()

    def look(self, session: str, last_sequence: int) -> None:
        """What the database says of the inbox: another replica may have taken it over, or put something into it."""
        if session != self.id:
            self.fail(inbox.taken_over(self._receiver))
        elif last_sequence > max(self._cursor, self._told):
            # It is acknowledged where it is not found: to be told of it once is enough.
            self._told, self._more = last_sequence, True
            self._changed.set()

    def _grow(self, items: Sequence[Item]) -> None:
        """What comes right behind everything that was read need not be read. No items: another replica has written."""
        if not items:
            self._kernel.sessions.look()
            return
        read_all = not self._more and not self._reading and items[0].sequence == self._cursor + 1
        if read_all and len(items) <= self._room and self._bytes + sum(map(Item.size, items)) <= MOST_BYTES:
            self._receive(items)
        else:
            self._more = True
        self._changed.set()

    def _release(self, item: Item) -> None:
        """The item is the first of its case: it may go out, once its delay is over."""
        delay = (item.not_before - to_micros(self._kernel.clock.now())) / 1_000_000 if item.not_before else 0.0
        if delay <= 0:
            self._ready.append(item)
        else:
            self._postpone(item, delay)

    def _postpone(self, item: Item, delay: float) -> None:
        """Keep of its case only where it goes on."""
        case_id = item.record.case_id
        waiting = self._cases.pop(case_id)
        for each in waiting:
            self._forget(each)
        self._unread.setdefault(case_id, _Unread(0, waiting[-1].sequence)).first = item.sequence
        self._put_off[case_id] = asyncio.get_running_loop().call_later(delay, self._resume, case_id)

    def _resume(self, case_id: str) -> None:
        del self._put_off[case_id]
        self._due.append(case_id)
        self._changed.set()

    # --- what comes in ---

    async def acknowledge(self, message: pb.OpenInboxRequest.Acknowledge) -> None:
        """Have what the receiver says stored; returns when there is room for more."""
        await self._said.put(message)

    async def _store(self) -> None:
        """Store what was said meanwhile together, time after time."""
        try:
            while True:
                messages = [await self._said.get()]
                while not self._said.empty():
                    messages.append(self._said.get_nowait())
                await self._store_all(messages)
                for _ in messages:
                    self._said.task_done()
        except Exception as error:
            self.fail(error)

    async def _store_all(self, messages: Sequence[pb.OpenInboxRequest.Acknowledge]) -> None:
        sequences = [sequence for message in messages for sequence in message.sequences]
        nacks = [nack for message in messages for nack in message.nacks]
        now = to_micros(self._kernel.clock.now())
        put_off = [(nack.sequence, now + _micros(nack.delay)) for nack in nacks]
        crash_point("after-delivery")
        # The receiver may leave meanwhile: what is on its way to the database is told all the same.
        await asyncio.shield(self._acknowledge(Acknowledgement(self._receiver, self.id, sequences, put_off)))
        for sequence in sequences:
            self._settle(sequence)
        for nack in nacks:
            self._repeat(nack.sequence, _micros(nack.delay) / 1_000_000)
        self._changed.set()

    async def _acknowledge(self, said: Acknowledgement) -> None:
        items = [self._sent[sequence] for sequence in said.sequences if sequence in self._sent]
        await self._kernel.acknowledge(said)
        for item in items:
            delivered(self._kernel, self._receiver, item)

    def _settle(self, sequence: int) -> None:
        item = self._sent.pop(sequence, None)
        if item is None:
            return
        case_id = item.record.case_id
        waiting = self._cases[case_id]
        self._forget(waiting.popleft())
        if waiting:
            self._release(waiting[0])
            return
        del self._cases[case_id]
        if case_id in self._unread:
            self._due.append(case_id)

    def _repeat(self, sequence: int, delay: float) -> None:
        item = self._sent.pop(sequence, None)
        if item is not None:
            self._postpone(item, delay)


class Sessions:
    """The live streaming sessions of this process, one per receiver."""

    def __init__(self) -> None:
        self._live: dict[str, InboxSession] = {}
        self._look = asyncio.Event()

    def take_over(self, receiver: str, session: InboxSession) -> None:
        """End the older session of the receiver, where there is one."""
        self._end(receiver)
        self._live[receiver] = session

    def opened(self, sessions: Mapping[str, str]) -> None:
        """So it stands in the database now: whichever of the receivers' sessions is another one is over."""
        for receiver, opened in sessions.items():
            session = self._live.get(receiver)
            if session is not None and session.id == opened:
                session.is_open = True
            elif session is not None and session.is_open:  # else its turn comes only now
                self._end(receiver)

    def _end(self, receiver: str) -> None:
        session = self._live.pop(receiver, None)
        if session is not None:
            session.fail(inbox.taken_over(receiver))

    def forget(self, receiver: str, session: InboxSession) -> None:
        """The session is over."""
        if self._live.get(receiver) is session:
            del self._live[receiver]

    def look(self) -> None:
        """Another replica has written."""
        self._look.set()

    async def watch(self, kernel: "Kernel") -> None:
        """Tell all of them what other replicas have done, by one query; until cancelled. On SQLite there are none.

        What cannot be read twice in a row ends them: their receivers go to a replica that can.
        """
        pacer, missed = Pacer(), 0
        while True:
            await wait(self._look, LOOK_SECONDS)
            await asyncio.sleep(pacer.delay())
            self._look.clear()
            sessions = {receiver: session for receiver, session in self._live.items() if session.is_open}
            pacer.passed(len(sessions))
            try:
                await _tell(kernel, sessions)
                missed = 0
            except StoreUnavailable as error:
                missed += 1
                for session in sessions.values() if missed > 1 else ():
                    session.fail(error)


async def _tell(kernel: "Kernel", sessions: Mapping[str, InboxSession]) -> None:
    """What the database has of their inboxes. Raises StoreUnavailable."""
    if not sessions:
        return
    found = await kernel.read(lambda connection: inbox.receivers(connection, list(sessions)))
    for receiver, session in sessions.items():
        session.look(*found.get(receiver, ("", 0)))


def delivered(kernel: "Kernel", receiver: str, item: Item) -> None:
    """The span of a delivery: from the inbox to the acknowledgement."""
    record = item.record
    trace = trace_id(record.case_id)
    kernel.spans.record(
        f"deliver {receiver.partition('/')[0]}",
        SpanContext(trace, hop_span_id(record.event_id, f"deliver {receiver}")),
        parent=event_span_id(record.event_id),
        kind="internal",
        start_ns=item.since * 1000,
        end_ns=time.time_ns(),
        attributes={"ronghe.receiver": receiver, "ronghe.inbox.sequence": item.sequence},
    )


def _micros(delay: Duration) -> int:
    return delay.ToMicroseconds()
