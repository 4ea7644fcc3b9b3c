"""The inbox through its real door: a gRPC server with mutual TLS over the toy's kernel."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, aclosing, asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from sqlalchemy import Connection, event

from clients.errors import InvalidRequest, RongheError, SessionTakenOver
from clients.subsystem import SubsystemClient
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.inbox.v1 import inbox_service_pb2 as pb
from ronghe.inbox.v1.inbox_service_pb2_grpc import InboxServiceStub
from ronghe.operations.v1.operations_service_pb2 import DrainInboxRequest
from servers.kernel import inbox, inbox_session
from servers.kernel.inbox import Acknowledgement
from servers.kernel.inbox_service import InboxServicer
from servers.kernel.inbox_session import InboxSession
from servers.kernel.kernel import Kernel, running
from servers.kernel.stream import Refused
from servers.rpc.call import Call
from servers.rpc.server import serving
from tests.kernel.conftest import ALL, SERVER, Spans, Start
from tests.kernel.drive import execute, new_case, step
from tests.kernel.operator import door as operators
from tests.kernel.operator import told
from tests.kernel.toy import toy
from tests.unit.rpc_support import Authority

# About 1 MiB: the last item of a message may go over.
MOST_BYTES = (1 << 20) + 300_000


@pytest.fixture
def door(authority: Authority, spans: Spans) -> Callable[[Kernel], Any]:
    """Opens a server over a kernel, and gives clients of it."""

    @asynccontextmanager
    async def opened(kernel: Kernel) -> AsyncIterator[Callable[..., SubsystemClient]]:
        credentials = authority.credentials(SERVER)
        async with serving([InboxServicer(kernel)], "127.0.0.1:0", credentials, spans) as server:
            yield lambda **options: SubsystemClient(f"127.0.0.1:{server.port}", authority.pki, ALL, **options)

    return opened


async def take(client: SubsystemClient, count: int, *, ack: bool = True, **options: Any) -> list[Any]:
    """The next items of the inbox, acknowledged or not."""
    items: list[Any] = []
    async with asyncio.timeout(60), aclosing(client.inbox(**options).batches()) as batches:
        async for batch in batches:
            for item in batch:
                items.append(item)
                if ack:
                    await item.ack()
            if len(items) >= count:
                return items[:count]
    return items


async def test_every_item_arrives_once_in_a_sequence_without_gaps(kernel: Kernel, door: Any) -> None:
    cases = [new_case() for _ in range(5)]
    async with door(kernel) as connect, connect() as client:
        await asyncio.gather(*(execute(kernel, step(cases[number % 5])) for number in range(50)))
        items = await take(client, 50)
    assert sorted(item.sequence for item in items) == list(range(1, 51))
    assert len({item.event.id for item in items}) == 50


async def test_a_cases_next_item_waits_until_the_previous_one_is_acknowledged(kernel: Kernel, door: Any) -> None:
    one, other = new_case(), new_case()
    for case in (one, one, other):
        await execute(kernel, step(case))
    async with door(kernel) as connect, connect() as client:
        first = await take(client, 2, ack=False)
        assert [item.event.case_id for item in first] == [one, other]


async def test_what_was_not_acknowledged_is_given_again(kernel: Kernel, door: Any) -> None:
    await execute(kernel, step(new_case()))
    async with door(kernel) as connect:
        async with connect() as client:
            (item,) = await take(client, 1, ack=False)
        async with connect() as client:
            (again,) = await take(client, 1)
        assert again.event.id == item.event.id


async def test_what_was_acknowledged_is_not_given_again_unless_replayed(kernel: Kernel, door: Any) -> None:
    case = new_case()
    async with door(kernel) as connect:
        async with connect() as client:
            for _ in range(3):
                await execute(kernel, step(case))
            await take(client, 3)
        async with connect() as client:
            await execute(kernel, step(case))
            assert [item.sequence for item in await take(client, 1, ack=False)] == [4]
        async with connect() as client:
            assert [item.sequence for item in await take(client, 3, from_sequence=2)] == [2, 3, 4]


async def test_an_item_that_was_put_off_comes_again_after_its_delay(kernel: Kernel, door: Any) -> None:
    late, soon = new_case(), new_case()
    await execute(kernel, step(late))
    await execute(kernel, step(late))
    seen: list[tuple[str, int]] = []
    async with door(kernel) as connect, connect() as client, asyncio.timeout(60):
        async for item in client.inbox():
            if not seen:
                await item.nack(timedelta(seconds=0.5))
                await execute(kernel, step(soon))
            else:
                await item.ack()
            seen.append((item.event.case_id, item.sequence))
            if len(seen) == 4:
                break
    assert seen == [(late, 1), (soon, 3), (late, 1), (late, 2)]


async def test_a_newer_session_takes_over(kernel: Kernel, door: Any) -> None:
    async with door(kernel) as connect, connect() as old, connect() as new:
        older = asyncio.create_task(take(old, 1))
        await asyncio.sleep(0.3)
        newer = asyncio.create_task(take(new, 1))
        with pytest.raises(RongheError) as ended:
            await older
        assert ended.value.reason == "SESSION_TAKEN_OVER"
        await execute(kernel, step(new_case()))
        assert len(await newer) == 1


async def test_sessions_in_which_nothing_happens_ask_for_nothing_of_their_own(kernel: Kernel) -> None:
    """Only whether another replica did something, all together: hundreds of organs wait most of the time.

    One of them has an inbox in which everything is acknowledged, as all have after a while.
    """
    asked: list[str] = []
    await execute(kernel, step(new_case()))
    await kernel.open_session(str(ALL), "before", 0)
    await kernel.acknowledge(Acknowledgement(str(ALL), "before", [1], []))

    def ask(connection: Any, cursor: Any, statement: str, *others: object) -> None:
        if "receiver" in statement:
            asked.append(statement)

    event.listen(kernel.database.reader, "before_cursor_execute", ask)
    waiting = []
    with ExitStack() as opened:
        for receiver in (str(ALL), *(f"organ/{number}" for number in range(20))):
            session = opened.enter_context(closing(InboxSession(kernel, receiver, pb.OpenInboxRequest.Open(credit=10))))
            await session.open()
            messages = session.messages()
            await anext(messages)
            waiting.append(asyncio.create_task(anext(messages)))
        await asyncio.wait(waiting, timeout=2.5)  # they look once whether something waits, and once when they are told
        asked.clear()
        done, _ = await asyncio.wait(waiting, timeout=2.5)
        for task in waiting:
            task.cancel()
    assert not done
    assert len(asked) == 0 if kernel.database.is_sqlite else 0 < len(asked) < 5


async def test_a_poll_looks_again_only_where_nobody_would_tell_it(kernel: Kernel, door: Any) -> None:
    """For another replica's items; for what may be given though nothing comes: it is due, or first now."""
    looks = 0

    def look(connection: Any, cursor: Any, statement: str, *others: object) -> None:
        nonlocal looks
        looks += "FROM inbox JOIN journal" in statement

    event.listen(kernel.database.reader, "before_cursor_execute", look)
    async with door(kernel) as connect, connect() as client:
        assert not (await client.fetch_inbox(pb.FetchInboxRequest(wait=Duration(seconds=3)))).items
        assert looks == 2 if kernel.database.is_sqlite else 3 <= looks <= 5
        await execute(kernel, step(new_case()))
        (item,) = (await client.fetch_inbox(pb.FetchInboxRequest())).items
        nack = pb.Nack(sequence=item.sequence, delay=Duration(seconds=2))
        await client.ack_inbox(pb.AckInboxRequest(nacks=[nack]))
        started = time.monotonic()
        (again,) = (await client.fetch_inbox(pb.FetchInboxRequest(wait=Duration(seconds=30)))).items
        assert again.sequence == item.sequence
        assert 1 < time.monotonic() - started < 20
        await execute(kernel, step(item.event.case_id))
        await client.ack_inbox(pb.AckInboxRequest(nacks=[pb.Nack(sequence=1, delay=Duration(seconds=3600))]))
        polling = asyncio.create_task(client.fetch_inbox(pb.FetchInboxRequest(wait=Duration(seconds=30))))
        await asyncio.wait([polling], timeout=0.5)  # it has looked, and waits
        await client.ack_inbox(pb.AckInboxRequest(sequences=[1]))
        async with asyncio.timeout(20):
            assert [each.sequence for each in (await polling).items] == [2]


async def test_who_waits_is_told_though_whoever_watches_commits_fails(start: Start) -> None:
    def fails(committed: object) -> None:
        raise ZeroDivisionError

    async with start(observe=fails) as kernel:
        with closing(InboxSession(kernel, str(ALL), pb.OpenInboxRequest.Open(credit=10))) as session:
            await session.open()
            messages = session.messages()
            await anext(messages)
            given = asyncio.create_task(anext(messages))
            await asyncio.wait([given], timeout=0.5)  # it has looked already, and waits
            await execute(kernel, step(new_case()))
            async with asyncio.timeout(20):
                assert [item.sequence for item in (await given).items] == [1]


async def test_polling_gives_the_first_item_of_each_case_and_the_next_after_its_ack(kernel: Kernel, door: Any) -> None:
    one, other = new_case(), new_case()
    for case in (one, one, other):
        await execute(kernel, step(case))
    async with door(kernel) as connect, connect() as client:
        fetched = await client.fetch_inbox(pb.FetchInboxRequest())
        assert [item.sequence for item in fetched.items] == [1, 3]
        await client.ack_inbox(pb.AckInboxRequest(sequences=[1]))
        assert [item.sequence for item in (await client.fetch_inbox(pb.FetchInboxRequest())).items] == [2, 3]
        await client.ack_inbox(pb.AckInboxRequest(sequences=[1, 2, 3]))
        assert not (await client.fetch_inbox(pb.FetchInboxRequest())).items


async def test_polling_reads_on_until_it_has_enough_cases(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a busy case more may wait than is read at once; what was put off counts for nothing."""
    monkeypatch.setattr(inbox, "READ_AT_ONCE", 3, raising=False)
    busy, late, others = new_case(), new_case(), [new_case() for _ in range(3)]
    for case in [busy] * 7 + [late, late, others[0], busy, *others[1:]]:
        await execute(kernel, step(case))
    await kernel.open_session(str(ALL), "fetch", epoch=0)
    await kernel.acknowledge(Acknowledgement(str(ALL), "fetch", [1, 2], [(8, 1_000)]))

    async def first(now: int, limit: int) -> list[int]:
        found = await kernel.read(lambda connection: inbox.first_of_each_case(connection, str(ALL), now, limit))
        return [item.sequence for item in found]

    assert await first(now=0, limit=100) == [3, 10, 12, 13]
    assert await first(now=0, limit=2) == [3, 10]
    assert await first(now=1_000, limit=3) == [3, 8, 10]


async def test_what_was_acknowledged_is_not_walked_by_who_looks_for_more(tmp_path: Path, spans: Spans) -> None:
    """An inbox that is at its end is looked at every second for years; PostgreSQL finds the index by its statistics."""
    plans: list[str] = []

    def note(connection: Connection, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if "FROM inbox" in statement:
            explained = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in explained if "inbox" in row[3])

    async with running(f"sqlite:///{tmp_path / 'kernel.db'}", toy(), spans) as kernel:
        await execute(kernel, step(new_case()))
        for engine in (kernel.database.reader, kernel.database.writer):
            event.listen(engine, "before_cursor_execute", note)
        await kernel.read(lambda connection: list(inbox.waiting(connection, str(ALL), 0, 10)))
        await kernel.read(
            lambda connection: list(inbox.waiting(connection, str(ALL), 0, 10, *inbox.of_case("a case", 9)))
        )
        await kernel.read(lambda connection: inbox.first_of_each_case(connection, str(ALL), 0, 10))
        async with operators(kernel, tmp_path / "operators") as desk, desk.open() as operator:
            await operator.drain_inbox(told(DrainInboxRequest, receiver=str(ALL)))
    by_waiting = "SEARCH inbox USING INDEX inbox_waiting (receiver=?"
    assert [plan.removesuffix(" AND sequence>?)").removesuffix(")") for plan in plans] == [
        by_waiting,
        "SEARCH inbox USING INDEX inbox_case (case_id=? AND receiver=? AND sequence>? AND sequence<?",
        by_waiting,
        by_waiting,
        "SEARCH inbox USING PRIMARY KEY (receiver=? AND sequence=?",
        by_waiting,
    ]


async def test_a_poll_waits_for_the_next_item(kernel: Kernel, door: Any) -> None:
    request = pb.FetchInboxRequest()
    request.wait.seconds = 5
    async with door(kernel) as connect, connect() as client:
        poll = asyncio.create_task(client.fetch_inbox(request))
        await asyncio.sleep(0.2)
        await execute(kernel, step(new_case()))
        assert len((await poll).items) == 1


async def test_an_ack_of_a_sequence_never_sent_is_refused(kernel: Kernel, door: Any) -> None:
    async with door(kernel) as connect, connect() as client:
        await client.fetch_inbox(pb.FetchInboxRequest())
        with pytest.raises(RongheError) as refused:
            await client.ack_inbox(pb.AckInboxRequest(sequences=[7]))
    assert refused.value.reason == "SEQUENCE_NEVER_SENT"


async def test_a_receiver_that_never_acknowledges_gets_no_more_than_its_credit(kernel: Kernel, door: Any) -> None:
    for _ in range(30):
        await execute(kernel, step(new_case()))
    async with door(kernel) as connect, connect() as client:
        assert len(await take(client, 10, ack=False, credit=10)) == 10


async def test_a_delivery_leaves_a_span_under_its_event(kernel: Kernel, door: Any, spans: Spans) -> None:
    await execute(kernel, step(new_case()))
    async with door(kernel) as connect, connect() as client:
        await take(client, 1)
    (event, *_) = [span for span in spans.records if "StepRecorded" in span["name"]]
    (delivery,) = [span for span in spans.records if span["name"] == "deliver organ"]
    assert delivery["parent"] == event["context"].span_id


def large(case: str) -> Message:
    return step(case, opinion="x" * 200_000)


async def test_a_message_of_the_stream_is_bounded_by_bytes(kernel: Kernel, door: Any) -> None:
    for _ in range(12):
        await execute(kernel, large(new_case()))
    taken = 0
    async with door(kernel) as connect, connect() as client, asyncio.timeout(60):
        async for batch in client.inbox().batches():
            assert sum(item.message.ByteSize() for item in batch) < MOST_BYTES
            taken += len(batch)
            if taken == 12:
                break


async def test_what_a_receiver_does_not_acknowledge_is_bounded_by_bytes(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its credit alone would let it have all of them."""
    monkeypatch.setattr(inbox_session, "MOST_BYTES", 1_000_000)
    for _ in range(12):
        await execute(kernel, large(new_case()))
    with closing(InboxSession(kernel, str(ALL), pb.OpenInboxRequest.Open(credit=100))) as session:
        await session.open()
        messages = session.messages()
        await anext(messages)
        got: list[pb.InboxItem] = []
        while len(got) < 5:
            got += (await anext(messages)).items
        assert len(got) == 5
        further = asyncio.create_task(anext(messages))
        done, _ = await asyncio.wait([further], timeout=2)
        assert not done
        while len(got) < 12:
            await session.acknowledge(pb.OpenInboxRequest.Acknowledge(sequences=[got[-1].sequence]))
            async with asyncio.timeout(60):
                got += (await further).items
            further = asyncio.create_task(anext(messages))
        further.cancel()
    assert [item.sequence for item in got] == list(range(1, 13))


@pytest.mark.parametrize("is_live", [True, False], ids=["as they come", "that wait"])
@pytest.mark.parametrize("from_sequence", [0, 1])
async def test_large_items_all_come_in_their_order_whichever_way_they_are_read(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, from_sequence: int, *, is_live: bool
) -> None:
    """Two cases have more of them than there is room for; a small one is not held up; what is put off comes again."""
    monkeypatch.setattr(inbox_session, "MOST_BYTES", 1_000_000)
    cases, small = [new_case(), new_case()], new_case()
    opening = pb.OpenInboxRequest.Open(credit=100, from_sequence=from_sequence)
    with closing(InboxSession(kernel, str(ALL), opening)) as session:
        await session.open()
        messages = session.messages()
        if is_live:
            await anext(messages)
        for _ in range(12):
            for case in cases:
                await execute(kernel, large(case))
        await execute(kernel, step(small))
        seen: dict[str, list[int]] = defaultdict(list)
        most, put_off = 0, False
        async with asyncio.timeout(60):
            while sum(map(len, seen.values())) < 25:
                for item in (await anext(messages)).items:
                    most = max(most, session._bytes)
                    if item.event.case_id == cases[0] and not put_off:
                        put_off = True
                        nack = pb.Nack(sequence=item.sequence, delay=Duration(nanos=200_000_000))
                        await session.acknowledge(pb.OpenInboxRequest.Acknowledge(nacks=[nack]))
                        continue
                    seen[item.event.case_id].append(item.sequence)
                    if item.event.case_id == small:
                        assert min(len(seen[case]) for case in cases) < 6
                    await session.acknowledge(pb.OpenInboxRequest.Acknowledge(sequences=[item.sequence]))
        await session.end()
    assert [seen[case] for case in cases] == [list(range(1, 25, 2)), list(range(2, 25, 2))]
    assert 0 < most <= 1_000_000 + 200_200
    assert session._loaded == session._bytes == 0


async def test_a_fetched_message_is_bounded_by_bytes_and_the_rest_is_fetched_next(kernel: Kernel, door: Any) -> None:
    for _ in range(12):
        await execute(kernel, large(new_case()))
    seen: list[int] = []
    async with door(kernel) as connect, connect() as client:
        while len(seen) < 12:
            fetched = await client.fetch_inbox(pb.FetchInboxRequest(limit=1000))
            assert fetched.ByteSize() < MOST_BYTES
            seen += [item.sequence for item in fetched.items]
            await client.ack_inbox(pb.AckInboxRequest(sequences=seen))
    assert seen == list(range(1, 13))


async def test_who_waits_for_items_is_answered_before_his_deadline(kernel: Kernel, door: Any) -> None:
    """Our own client leaves time for the answer; others may not."""
    request = pb.FetchInboxRequest()
    request.wait.seconds = 30
    async with door(kernel) as connect, connect() as client:
        answer = await InboxServiceStub(client._channel).FetchInbox(request, timeout=3)
    assert answer.items == []


class Unreadable:
    """A server whose sessions begin well and end at the first item."""

    service = pb.DESCRIPTOR.services_by_name["InboxService"]

    def __init__(self) -> None:
        self.sessions = 0

    async def OpenInbox(self, requests: AsyncIterator[pb.OpenInboxRequest], call: Call) -> AsyncIterator[Any]:  # noqa: N802
        self.sessions += 1
        yield pb.OpenInboxResponse(epoch=1)
        raise Refused(Reason.REASON_OVERLOADED, "too much")

    async def FetchInbox(self, request: Any, call: Call) -> pb.FetchInboxResponse:  # noqa: N802
        return pb.FetchInboxResponse()

    async def AckInbox(self, request: Any, call: Call) -> pb.AckInboxResponse:  # noqa: N802
        return pb.AckInboxResponse()


async def test_a_client_that_gets_no_items_waits_longer_each_time(authority: Authority, spans: Spans) -> None:
    server = Unreadable()
    async with (
        serving([server], "127.0.0.1:0", authority.credentials(SERVER), spans) as running,
        SubsystemClient(f"127.0.0.1:{running.port}", authority.pki, ALL) as client,
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(aiter(client.inbox())), 2)
    assert 2 <= server.sessions <= 7


async def test_cases_that_were_put_off_do_not_hold_up_the_others(kernel: Kernel, door: Any) -> None:
    """More events wait behind what was put off than are ever read ahead."""
    busy, healthy = [new_case() for _ in range(30)], new_case()
    for case in busy:
        await asyncio.gather(*(execute(kernel, step(case)) for _ in range(12)))
    await execute(kernel, step(healthy))
    async with door(kernel) as connect, connect() as client, asyncio.timeout(60):
        async for item in client.inbox(credit=10):
            if item.event.case_id == healthy:
                break
            await item.nack(timedelta(hours=1))


async def test_a_case_that_was_put_off_goes_on_in_its_order_without_loss(kernel: Kernel, door: Any) -> None:
    late = new_case()
    for _ in range(300):
        await execute(kernel, step(late))
    seen: list[int] = []
    async with door(kernel) as connect, connect() as client, asyncio.timeout(20):
        async for item in client.inbox(credit=5):
            if len(seen) in (0, 150):
                seen.append(0)
                await item.nack(timedelta(seconds=0.2))
                # While it is put off, more of it comes.
                await asyncio.gather(*(execute(kernel, step(late)) for _ in range(20)))
                continue
            await item.ack()
            seen.append(item.sequence)
            if item.sequence == 340:
                break
    assert [sequence for sequence in seen if sequence] == list(range(1, 341))


async def test_a_session_is_told_whoever_takes_its_inbox_over(kernel: Kernel, door: Any) -> None:
    """Also where whoever did has given up before it was answered."""
    async with door(kernel) as connect, connect() as client, aclosing(client.inbox().batches()) as batches:
        assert await anext(batches) == []  # it is open
        await kernel.open_session(str(ALL), "fetch", epoch=0)
        async with asyncio.timeout(30):
            with pytest.raises(SessionTakenOver):
                await _first(batches)


async def test_a_drained_inbox_begins_anew_and_can_be_replayed(kernel: Kernel, door: Any, tmp_path: Path) -> None:
    """Who was given some of it is told to begin anew; what came before can still be had."""
    case = new_case()
    for _ in range(3):
        await execute(kernel, step(case))
    async with (
        door(kernel) as connect,
        connect() as client,
        operators(kernel, tmp_path / "operators") as desk,
        desk.open() as operator,
    ):
        async with aclosing(client.inbox().batches()) as batches:
            first = await _first(batches)
            drained = await operator.drain_inbox(told(DrainInboxRequest, receiver=str(ALL)))
            with pytest.raises(SessionTakenOver):
                await _first(batches)
        assert (drained.items, drained.first_sequence) == (3, 1)
        with pytest.raises(SessionTakenOver):
            await client.ack_inbox(pb.AckInboxRequest(sequences=[first.sequence]))
        again = await operator.drain_inbox(told(DrainInboxRequest, receiver=str(ALL)))
        assert (again.items, again.first_sequence) == (0, 0)
        await execute(kernel, step(case))
        assert [item.sequence for item in await take(client, 1)] == [4]
        replayed = await take(client, 3, from_sequence=drained.first_sequence)
        assert [item.sequence for item in replayed] == [1, 2, 3]


async def test_an_inbox_is_drained_in_parts_until_nothing_is_left(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for a year would else keep every writer waiting, or be too much for the database."""
    monkeypatch.setattr("servers.kernel.draining.MOST_ITEMS", 2)
    for _ in range(5):
        await execute(kernel, step(new_case()))
    async with operators(kernel, tmp_path) as desk, desk.open() as operator:
        requests = [told(DrainInboxRequest, receiver=str(ALL)) for _ in range(4)]
        answers = [await operator.drain_inbox(request) for request in requests]
        assert [(each.items, each.first_sequence, each.more) for each in answers] == [
            (2, 1, True),
            (2, 3, True),
            (1, 5, False),
            (0, 0, False),
        ]
        await execute(kernel, step(new_case()))
        assert [await operator.drain_inbox(request) for request in requests] == answers
        assert await kernel.read(lambda c: len(list(inbox.waiting(c, str(ALL), 0, 10)))) == 1


async def test_where_nothing_is_drained_a_session_goes_on(kernel: Kernel, door: Any, tmp_path: Path) -> None:
    """Nothing waits, or a request is repeated after the receiver has come back."""
    await execute(kernel, step(new_case()))
    async with (
        door(kernel) as connect,
        connect() as client,
        operators(kernel, tmp_path / "operators") as desk,
        desk.open() as operator,
    ):
        request = told(DrainInboxRequest, receiver=str(ALL))
        first = await operator.drain_inbox(request)
        async with aclosing(client.inbox().batches()) as batches:
            assert await anext(batches) == []  # it is open
            assert await operator.drain_inbox(request) == first
            assert (await operator.drain_inbox(told(DrainInboxRequest, receiver=str(ALL)))).items == 0
            await execute(kernel, step(new_case()))
            assert (await _first(batches)).sequence == 2


async def _first(batches: AsyncIterator[Any]) -> Any:
    """An open inbox says so by a batch of nothing."""
    async for batch in batches:
        if batch:
            return batch[0]
    raise AssertionError("it ended")


async def test_an_inbox_of_a_subsystem_is_not_drained(kernel: Kernel, tmp_path: Path) -> None:
    """What the center has not taken from intake would be lost to everybody behind it."""
    async with operators(kernel, tmp_path) as desk, desk.open() as operator:
        with pytest.raises(InvalidRequest, match="receiver"):
            await operator.drain_inbox(told(DrainInboxRequest, receiver="service/governance-01"))
