"""An inbox source between a real peer and a journal in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from google.protobuf.any_pb2 import Any

from bridge.inbox_source import InboxSource, decode
from bridge.ports import Arrived, Undecodable
from bridge.record import Arrival
from bridge.settings import BridgeSettings
from clients.identity import Identity
from clients.subsystem import SubsystemClient
from ronghe.event.v1.event_pb2 import Event, StepRecorded
from ronghe.inbox.v1 import inbox_service_pb2 as pb
from servers.kernel import tables
from servers.kernel.inbox_service import InboxServicer
from servers.kernel.kernel import Kernel
from servers.rpc.server import serving
from tests.integration.memory import MemoryJournal, until
from tests.kernel.conftest import Spans
from tests.kernel.drive import execute, new_case, rows, step
from tests.unit.rpc_support import Authority

ALL = Identity("organ", "all")
SERVER = Identity("service", "department-09")
QUICK = BridgeSettings(retry_first_seconds=0.05, retry_longest_seconds=0.2)


@dataclass
class Peer:
    """A subsystem with an inbox for us, and our journal."""

    kernel: Kernel
    authority: Authority
    here: MemoryJournal = field(default_factory=MemoryJournal)

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[int]:
        credentials = self.authority.credentials(SERVER)
        async with serving([InboxServicer(self.kernel)], f"127.0.0.1:{port}", credentials, Spans()) as server:
            yield server.port

    @asynccontextmanager
    async def pulled(self, port: int, settings: BridgeSettings = QUICK) -> AsyncIterator[InboxSource]:
        async with SubsystemClient(f"127.0.0.1:{port}", self.authority.pki, ALL) as client:
            source = InboxSource(self.here, client, "department-09", settings)
            task = asyncio.create_task(source.run())
            try:
                yield source
                assert not task.done()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def waiting(self, port: int) -> int:
        async with SubsystemClient(f"127.0.0.1:{port}", self.authority.pki, ALL) as client:
            return len((await client.fetch_inbox(pb.FetchInboxRequest())).items)

    async def has_all_back(self) -> None:
        """Everything it gave is acknowledged."""
        async with asyncio.timeout(60):
            while await self._unacknowledged():  # noqa: ASYNC110 - it is looked at from outside
                await asyncio.sleep(0.01)

    async def _unacknowledged(self) -> int:
        given = [row for row in await rows(self.kernel, tables.inbox) if row.receiver == str(ALL)]
        return sum(row.acknowledged_at is None for row in given)

    async def has_given(self, count: int) -> None:
        await until(lambda: len(self.here.rows) >= count, f"{count} taken in", 20)

    async def assert_all_arrived_once_and_in_order(self) -> None:
        theirs = [row for row in await rows(self.kernel) if row.stream.startswith("counter/")]
        assert sorted(row.event_id for row in theirs) == sorted(record.event_id for record in self.here.rows)
        for case_id in {row.case_id for row in theirs}:
            assert self.here.of_case(case_id) == [row.version for row in theirs if row.case_id == case_id]


@pytest.fixture
def peer(kernel: Kernel, tmp_path: Path) -> Peer:
    authority = Authority(tmp_path / "pki")
    authority.issue(ALL)
    authority.issue(SERVER)
    return Peer(kernel, authority)


async def act(peer: Peer, cases: int, facts: int) -> None:
    for case_id in [new_case() for _ in range(cases)]:
        await asyncio.gather(*(execute(peer.kernel, step(case_id)) for _ in range(facts)))


async def test_what_a_peer_has_for_us_arrives_as_it_was_written_and_is_acknowledged(peer: Peer) -> None:
    await act(peer, cases=10, facts=5)
    async with peer.serving() as port:
        async with peer.pulled(port) as source:
            await peer.has_given(50)
            await peer.has_all_back()
            assert source.state.last_sequence == 50
            assert source.state.connected
        assert await peer.waiting(port) == 0
    await peer.assert_all_arrived_once_and_in_order()
    written = {row.event_id: row for row in await rows(peer.kernel)}
    for record in peer.here.rows:
        row = written[record.event_id]
        assert (record.origin, record.stream, record.type, record.body) == (row.origin, row.stream, row.type, row.body)
        assert record.arrival is Arrival.INBOX


async def test_nothing_is_acknowledged_while_the_store_is_gone(peer: Peer) -> None:
    await act(peer, cases=10, facts=5)
    peer.here.available = False
    async with peer.serving() as port:
        async with peer.pulled(port) as source:
            await until(lambda: source.state.last_error.startswith("StoreUnavailable"), "the source says so")
        assert await peer.waiting(port) == 10
        async with peer.pulled(port) as source:
            await until(lambda: source.state.last_error.startswith("StoreUnavailable"), "the source says so again")
            peer.here.available = True
            await peer.has_given(50)
            assert not source.state.last_error
    await peer.assert_all_arrived_once_and_in_order()


async def test_a_peer_that_comes_back_is_pulled_again(peer: Peer) -> None:
    await act(peer, cases=5, facts=5)
    async with peer.serving() as port:
        pulled = peer.pulled(port)
        source = await pulled.__aenter__()
        await peer.has_given(25)
    await until(lambda: not source.state.connected, "the source says that it is not connected", 3)
    assert source.state.last_error
    await act(peer, cases=5, facts=5)
    async with peer.serving(port):
        await peer.has_given(50)
        assert (source.state.connected, source.state.last_error) == (True, "")
        await pulled.__aexit__(None, None, None)
    await peer.assert_all_arrived_once_and_in_order()


async def test_of_two_replicas_the_newer_one_pulls_and_the_other_leaves_it_in_peace(peer: Peer) -> None:
    patient = BridgeSettings(retry_longest_seconds=60.0)
    async with peer.serving() as port, peer.pulled(port, patient) as older:
        await act(peer, cases=1, facts=1)
        await peer.has_given(1)
        async with peer.pulled(port, patient) as newer:
            await until(lambda: not older.state.connected, "the newer one has taken over")
            await act(peer, cases=5, facts=5)
            await peer.has_given(26)
            assert newer.state.connected
            assert older.state.last_error.startswith("SESSION_TAKEN_OVER")
    await peer.assert_all_arrived_once_and_in_order()


def an_event(**changes: object) -> Event:
    case_id = str(uuid4())
    event = Event(id=str(uuid4()), origin="intake-01", case_id=case_id, stream=f"application/{case_id}", version=1)
    event.recorded_at.FromDatetime(datetime(2026, 11, 23, tzinfo=UTC))
    event.fact.Pack(StepRecorded())
    event.MergeFrom(Event(**changes))  # type: ignore[arg-type] # fields by name
    return event


def test_a_type_of_a_later_version_keeps_its_bytes() -> None:
    later = Any(type_url="type.googleapis.com/ronghe.event.v1.Objected", value=b"\xff\x00")
    found = decode(an_event(fact=later), "inbox/intake-01/1/7")
    assert isinstance(found, Arrived)
    assert (found.record.type, found.record.body, found.record.fact) == ("ronghe.event.v1.Objected", b"\xff\x00", None)


def test_an_item_that_is_no_record_is_handed_over_and_stops_only_its_case() -> None:
    broken = Any(type_url="type.googleapis.com/ronghe.event.v1.StepRecorded", value=b"\xff secret")
    event = an_event(fact=broken)
    found = decode(event, "inbox/intake-01/1/7")
    assert isinstance(found, Undecodable)
    assert (found.source, found.case_id, found.value) == ("inbox/intake-01/1/7", event.case_id, b"\xff secret")
    assert found.error == "DecodeError while it was decoded"
    assert found.headers["ce_id"] == event.id.encode()


@pytest.mark.parametrize("changes", [{"id": "seventeen"}, {"causes": ["eleven"]}, {"case_id": "none"}])
def test_an_item_with_a_broken_envelope_is_handed_over(changes: dict[str, object]) -> None:
    assert isinstance(decode(an_event(**changes), "inbox/intake-01/1/7"), Undecodable)
