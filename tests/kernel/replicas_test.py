"""Several kernels on one PostgreSQL database: what one does the others learn at once, and some work one does alone."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Callable, Iterator, Set
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from google.protobuf.message import Message
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from sqlalchemy import make_url

from bridge.ports import StoreUnavailable
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.inbox.v1 import inbox_service_pb2 as inboxes
from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel import database, herald, inbox_session, leases
from servers.kernel.background import in_background
from servers.kernel.bridges import Bridges
from servers.kernel.herald import Herald
from servers.kernel.inbox_session import InboxSession
from servers.kernel.kernel import Kernel
from servers.kernel.leases import Lease
from servers.kernel.stream import Refused
from tests import postgres
from tests.kernel.conftest import ALL, Start
from tests.kernel.drive import execute, new_case, rows, step

PATIENCE = 60.0
MANY = 1_100


@pytest.fixture
def database_url(postgres_url: str) -> str:
    return postgres.new_database(postgres_url, f"k{uuid4().hex}")


@pytest.fixture
async def pair(start: Start) -> AsyncIterator[tuple[Kernel, Kernel]]:
    async with start() as one, start() as other:
        yield one, other


class Works:
    """Counts who works at the same time."""

    def __init__(self) -> None:
        self.at_work: list[str] = []

    def of(self, name: str) -> Callable[[], object]:
        async def work() -> None:
            self.at_work.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                self.at_work.remove(name)

        return work


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.02)


async def heralds(kernel: Kernel) -> set[int]:
    """The server's processes that serve whoever listens."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND (query LIKE 'LISTEN%%' OR query LIKE '%%pg_notify%%')"
    )
    return set(await kernel.read(lambda connection: connection.exec_driver_sql(query).scalars().all()))


async def two_heralds(kernel: Kernel, others: Set[int] = frozenset()) -> set[int]:
    """As soon as two listen that are not these."""
    async with asyncio.timeout(PATIENCE):
        while len(found := await heralds(kernel) - others) < 2:  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.02)
    return found


async def test_a_commit_wakes_whoever_waits_at_another_replica(
    pair: tuple[Kernel, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servers.kernel.signals.LOOK_SECONDS", 600.0)
    one, other = pair
    await two_heralds(one)  # what is told before is looked for, not heard
    waiting = asyncio.create_task(other.wait_beyond(other.signals.position))
    grown = asyncio.Event()
    with other.signals.inbox("organ/toy", lambda items: grown.set()):
        await execute(one, step(new_case()))
        async with asyncio.timeout(60):
            await waiting
            await grown.wait()
    assert other.signals.position == one.signals.position > 0


async def test_a_session_at_another_replica_takes_over_and_gets_what_any_of_them_writes(
    pair: tuple[Kernel, Kernel],
) -> None:
    one, other = pair
    opening = inboxes.OpenInboxRequest.Open(credit=10)
    with (
        closing(InboxSession(one, str(ALL), opening)) as older,
        closing(InboxSession(other, str(ALL), opening)) as newer,
    ):
        before, after = older.messages(), newer.messages()
        await older.open()
        await anext(before)
        given = asyncio.create_task(anext(before))
        await newer.open()
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(Refused) as ended:
                await given
            assert ended.value.reason == Reason.REASON_SESSION_TAKEN_OVER
            await anext(after)
            given = asyncio.create_task(anext(after))
            await asyncio.wait([given], timeout=0.5)  # it has looked already, and waits
            await execute(one, step(new_case()))
            assert [item.sequence for item in (await given).items] == [1]


async def test_sessions_outlast_one_late_look_and_end_where_none_comes(
    pair: tuple[Kernel, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is late says that the replica is crowded; to send all receivers away would crowd it more."""
    one, _ = pair
    late = [True]

    async def tell(kernel: Kernel, sessions: object) -> None:
        if kernel is one and late and late.pop(0):
            raise StoreUnavailable("late")

    with closing(InboxSession(one, str(ALL), inboxes.OpenInboxRequest.Open(credit=10))) as session:
        await session.open()
        messages = session.messages()
        await anext(messages)
        given = asyncio.create_task(anext(messages))
        monkeypatch.setattr(inbox_session, "_tell", tell)
        await until(lambda: not late)
        done, _ = await asyncio.wait([given], timeout=2.5)
        assert not done
        late += [True, True]
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(StoreUnavailable):
                await given


@pytest.fixture
def many_files() -> Iterator[None]:
    """What is opened from now on has numbers that `select` cannot take."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], MANY * 2), before[1]))
    with ExitStack() as files:
        while files.enter_context(Path(os.devnull).open()).fileno() < MANY:
            pass
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_files")
async def test_a_replica_hears_however_many_files_are_open(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servers.kernel.signals.LOOK_SECONDS", 600.0)
    async with start() as one, start() as other:
        await two_heralds(one)
        await execute(one, step(new_case()))
        await until(lambda: other.signals.position == one.signals.position > 0)


async def test_a_herald_that_fails_says_so_and_goes_on(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(herald, "PAUSE_SECONDS", 0.01)
    heard: list[int] = []

    def hear(position: int) -> None:
        heard.append(position)
        if len(heard) == 1:
            raise ZeroDivisionError

    listening = Herald(make_url(postgres_url), hear, {})
    listening.start()
    await until(lambda: heard == [0, 0])
    await asyncio.to_thread(listening.stop)
    assert "herald.failed" in capsys.readouterr().out


async def test_a_replica_hears_again_after_its_connection_was_cut(
    pair: tuple[Kernel, Kernel], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servers.kernel.signals.LOOK_SECONDS", 600.0)
    one, other = pair
    cut = await two_heralds(one)
    for pid in cut:
        await one.read(
            lambda connection, pid=pid: connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid})").all()
        )
    await two_heralds(one, cut)
    await execute(one, step(new_case()))
    await until(lambda: other.signals.position == one.signals.position > 0)


MUCH = b"SELECT repeat('x', 100000000) FROM (SELECT 1 FROM journal_head) AS head"


def stops_while_it_sends(replica: PGconn) -> None:
    """More of its statements were to come."""
    replica.enter_pipeline_mode()
    replica.send_query_params(b"UPDATE journal_head SET position = position", None)
    replica.send_flush_request()
    replica.flush()


def stops_while_it_is_answered(replica: PGconn) -> None:
    """It takes nothing of a long answer."""
    replica.send_query(MUCH)


@pytest.mark.parametrize("stops", [stops_while_it_sends, stops_while_it_is_answered])
async def test_a_replica_that_stops_amid_its_statements_does_not_keep_the_append_lock(
    start: Start, database_url: str, monkeypatch: pytest.MonkeyPatch, stops: Callable[[PGconn], None]
) -> None:
    monkeypatch.setattr(database, "IDLE_IN_TRANSACTION_MS", 1_000)
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with start() as kernel:
        with closing(psycopg.connect(url)) as stopped, closing(psycopg.connect(url)) as reading:
            # Who only reads the head, as a backup does, is left alone.
            reading.pgconn.send_query(MUCH)
            stopped.execute("SELECT * FROM journal_head FOR UPDATE").fetchall()
            stops(stopped.pgconn)
            await patiently(kernel, step(new_case()))
            answer = await asyncio.to_thread(reading.pgconn.get_result)
            assert answer is not None
            assert answer.status == ExecStatus.TUPLES_OK
        assert len(await rows(kernel)) == 2


async def patiently(kernel: Kernel, command: Message) -> None:
    """As a caller who repeats it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(StoreUnavailable):
                await execute(kernel, command)
                return


async def test_one_replica_works_and_another_goes_on_when_it_leaves(pair: tuple[Kernel, Kernel]) -> None:
    works = Works()
    first, second = (Lease(kernel, "toy") for kernel in pair)
    task = asyncio.create_task(first.run(works.of("first")))
    await until(lambda: works.at_work == ["first"])
    async with in_background(second.run(works.of("second"))):
        await asyncio.sleep(2.5)
        assert works.at_work == ["first"]
        assert (first.is_held, second.is_held) == (True, False)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: works.at_work == ["second"])


async def test_work_of_a_replica_that_stands_still_is_taken_over_and_left_by_it(
    pair: tuple[Kernel, Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "FREE_SECONDS", 1.5)
    works, standing = Works(), asyncio.Event()
    first, second = (Lease(kernel, "toy") for kernel in pair)
    look = first._look

    async def slow_look() -> None:
        if standing.is_set():
            await until(lambda: second.is_held)
            standing.clear()
        await look()

    monkeypatch.setattr(first, "_look", slow_look)
    async with in_background(first.run(works.of("first"))):
        await until(lambda: works.at_work == ["first"])
        standing.set()
        async with in_background(second.run(works.of("second"))):
            await until(lambda: "second" in works.at_work)
            await until(lambda: works.at_work == ["second"])
            assert (first.is_held, second.is_held) == (False, True)


async def test_the_relay_runs_once_and_the_consumer_everywhere(pair: tuple[Kernel, Kernel]) -> None:
    relays, consumers = Works(), Works()
    bridges = [
        Bridges(kernel, {pb.BRIDGE_RELAY: relays.of(name), pb.BRIDGE_CONSUMER: consumers.of(name)})
        for kernel, name in zip(pair, ("one", "other"), strict=True)
    ]
    async with in_background(*bridges[0].running(), *bridges[1].running()):
        await until(lambda: relays.at_work and len(consumers.at_work) == 2)
        await asyncio.sleep(1.5)
        assert len(relays.at_work) == 1
        assert sorted(map(list, (each.standing_by for each in bridges))) == [[], [pb.BRIDGE_RELAY]]
