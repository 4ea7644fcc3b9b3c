"""Signed heads: what they cover, who is believed, and what somebody who computes a journal anew cannot hide."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, update

from bridge.record import HEAD, Arrival, Record
from clients.identity import Identity
from ronghe.event.v1.event_pb2 import JournalHead
from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel import journal, tables
from servers.kernel.background import in_background
from servers.kernel.comparing import Comparison, held
from servers.kernel.database import Database
from servers.kernel.heads import Heads, JournalStream, SignHead
from servers.kernel.kernel import Kernel
from servers.kernel.restored import begin_epoch
from servers.kernel.signing import Authorities, Signer, case_id_of
from tests.kernel.conftest import Spans, Start
from tests.kernel.drive import absorb, execute, new_case, rows, step
from tests.kernel.operator import AUDITOR, door
from tests.kernel.toy import toy
from tests.unit.rpc_support import Authority

ORIGIN, OTHER = "department-09", "governance-01"
at = tables.journal.c.position


@dataclass(frozen=True)
class Signed:
    """A kernel whose heads are signed, beside the authority that vouches for it."""

    kernel: Kernel
    authority: Authority

    def signer(self, origin: str = ORIGIN) -> Signer:
        return Signer.of(self.authority.credentials(Identity("service", origin)))

    async def sign(self) -> None:
        await self.kernel.sign(SignHead(self.signer()))

    async def heads(self) -> list[JournalHead]:
        return [each.head for each in await self.kernel.read(lambda c: held(c, ORIGIN, 0, 1000))]

    async def compared(self, heads: list[JournalHead]) -> tuple[int, journal.Fault | None]:
        authorities = Authorities(self.authority.credentials(Identity("service", ORIGIN)))
        return await self.kernel.read(lambda c: Comparison(c, ORIGIN, authorities).of(heads, 0))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    found = Authority(tmp_path / "pki")
    for origin in (ORIGIN, OTHER):
        found.issue(Identity("service", origin))
    return found


def subsystem(authority: Authority) -> Any:
    return toy(ORIGIN, JournalStream(ORIGIN, Authorities(authority.credentials(Identity("service", ORIGIN)))))


@pytest.fixture
async def signed(start: Start, authority: Authority) -> AsyncIterator[Signed]:
    async with start(subsystem(authority)) as kernel:
        yield Signed(kernel, authority)


async def lived(signed: Signed) -> list[JournalHead]:
    """Two cases, six steps with what the shadow says of them, a head after every other: rows 5, 10 and 15 are heads."""
    one, other = new_case(), new_case()
    for case, again in ((one, other), (other, one), (one, other)):
        await execute(signed.kernel, step(case))
        await execute(signed.kernel, step(again))
        await signed.sign()
    found = await signed.heads()
    assert [head.position for head in found] == [4, 9, 14]
    return found


# --- what is signed ---


async def test_a_head_names_the_row_before_it(signed: Signed) -> None:
    heads = await lived(signed)
    found = {row.position: row for row in await rows(signed.kernel)}
    assert [head.hash for head in heads] == [found[head.position].hash for head in heads]
    own = [row for row in found.values() if row.type == HEAD]
    assert [(row.position, row.version, row.stream) for row in own] == [
        (5, 1, f"journal/{ORIGIN}"), (10, 2, f"journal/{ORIGIN}"), (15, 3, f"journal/{ORIGIN}")
    ]  # fmt: skip
    assert await signed.compared(heads) == (14, None)


async def test_a_journal_at_rest_is_not_signed_again(signed: Signed) -> None:
    await signed.sign()
    assert await rows(signed.kernel) == []
    await execute(signed.kernel, step(new_case()))
    await asyncio.gather(signed.sign(), signed.sign())
    other = JournalHead.FromString((await rows(signed.kernel))[-1].body)
    await absorb(signed.kernel, said_by(OTHER, signed.signer(OTHER).sign(1, 7, bytes(32), datetime.now(UTC))))
    await signed.sign()
    assert [row.type == HEAD for row in await rows(signed.kernel)] == [False, False, True, True]
    assert other.position == 2


async def test_replicas_sign_nothing_twice(start: Start, authority: Authority) -> None:
    async with start(subsystem(authority)) as one, start(subsystem(authority)) as two:
        signed = Signed(one, authority)
        signing = in_background(*(Heads(each, authority.pki, 0.05).run() for each in (one, two)))
        async with signing, asyncio.timeout(30):
            for kernel in (one, two, one, two):
                await execute(kernel, step(new_case()))
                # A head of it may stand behind it already.
                last = max(row.position for row in await rows(kernel) if not row.type.endswith("JournalHead"))
                while not [head for head in await signed.heads() if head.position >= last]:  # noqa: ASYNC110 - replicas
                    await asyncio.sleep(0.02)
        heads = await signed.heads()
        assert [head.position for head in heads] == sorted({head.position for head in heads})
        assert await signed.compared(heads) == (heads[-1].position, None)


async def test_a_head_is_in_no_trace(signed: Signed, spans: Spans) -> None:
    await lived(signed)
    assert {record["name"] for record in spans.records} == {
        "ronghe.event.v1.StepRecorded", "ronghe.event.v1.SupplementLate"
    }  # fmt: skip


def test_the_center_tells_intake_of_all_heads_and_intake_the_center_of_its_own(authority: Authority) -> None:
    authorities = Authorities(authority.credentials(Identity("service", OTHER)))
    streams = {
        "intake-01": JournalStream("intake-01", authorities, OTHER),
        OTHER: JournalStream(OTHER, authorities, "intake-01", passes_on=True),
        ORIGIN: JournalStream(ORIGIN, authorities),
    }
    head = JournalHead()
    told = {
        (here, origin): list(stream.receivers(stream.state(), said_by(origin, head)))
        for here, stream in streams.items()
        for origin in streams
    }
    assert {pair: receivers for pair, receivers in told.items() if receivers} == {
        ("intake-01", "intake-01"): [f"service/{OTHER}"],
        (OTHER, OTHER): ["service/intake-01"],
        (OTHER, ORIGIN): ["service/intake-01"],
    }


# --- who is believed ---


def said_by(origin: str, head: JournalHead, **values: Any) -> Record:
    record = Record(
        event_id=new_case(),
        origin=origin,
        case_id=case_id_of(origin),
        stream=f"journal/{origin}",
        version=1,
        causes=(),
        recorded_at=datetime.now(UTC),
        type=HEAD,
        body=head.SerializeToString(),
        fact=head,
        arrival=Arrival.KAFKA,
    )
    return record._replace(**values)


async def test_a_head_by_a_renewed_certificate_and_by_the_one_before_is_believed(signed: Signed) -> None:
    before = signed.signer(OTHER).sign(1, 7, bytes(32), datetime.now(UTC))
    signed.authority.issue(Identity("service", OTHER))
    after = signed.signer(OTHER).sign(1, 9, bytes(32), datetime.now(UTC))
    assert before.certificate != after.certificate
    await absorb(signed.kernel, said_by(OTHER, after), said_by(OTHER, before))
    assert await rows(signed.kernel, tables.dead_letter) == []
    assert len(await signed.kernel.read(lambda c: held(c, OTHER, 0, 10))) == 2


LIES: dict[str, Callable[[Signed, JournalHead], Record]] = {
    "of another origin": lambda signed, head: said_by("intake-01", head),
    "position altered": lambda signed, head: said_by(OTHER, _with(head, position=8)),
    "epoch altered": lambda signed, head: said_by(OTHER, _with(head, epoch=2)),
    "hash altered": lambda signed, head: said_by(OTHER, _with(head, hash=bytes(31) + b"\1")),
    "hash cut": lambda signed, head: said_by(OTHER, _with(head, hash=bytes(31))),
    "time altered": lambda signed, head: said_by(OTHER, _with(head, occurred_at=datetime.now(UTC))),
    "another algorithm": lambda signed, head: said_by(OTHER, _with(head, algorithm="none")),
    "no certificate": lambda signed, head: said_by(OTHER, _with(head, certificate=b"")),
    "another's certificate": lambda signed, head: said_by(OTHER, _with(head, certificate=signed.signer().certificate)),
    "signed by another": lambda signed, head: said_by(OTHER, signed.signer().sign(1, 7, bytes(32), datetime.now(UTC))),
    "no signature": lambda signed, head: said_by(OTHER, _with(head, signature=b"")),
    "under another case": lambda signed, head: said_by(OTHER, head, case_id=new_case()),
    "of another stream": lambda signed, head: said_by(OTHER, head, stream=f"journal/{ORIGIN}"),
}


def _with(head: JournalHead, **values: Any) -> JournalHead:
    other = JournalHead()
    other.CopyFrom(head)
    for name, value in values.items():
        if name == "occurred_at":
            other.occurred_at.FromDatetime(value)
        else:
            setattr(other, name, value)
    return other


@pytest.mark.parametrize("lie", LIES)
async def test_a_head_that_its_origin_did_not_sign_is_set_aside(signed: Signed, lie: str) -> None:
    head = signed.signer(OTHER).sign(1, 7, bytes(32), datetime(2026, 1, 1, tzinfo=UTC))
    await absorb(signed.kernel, LIES[lie](signed, head))
    assert await rows(signed.kernel) == []
    assert len(await rows(signed.kernel, tables.dead_letter)) == 1


async def test_another_authority_vouches_for_nobody(signed: Signed, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "elsewhere", "another authority")
    stranger.issue(Identity("service", OTHER))
    head = Signer.of(stranger.credentials(Identity("service", OTHER))).sign(1, 7, bytes(32), datetime.now(UTC))
    await absorb(signed.kernel, said_by(OTHER, head))
    assert await rows(signed.kernel) == []


# --- what cannot be hidden ---


def rechain(connection: Connection) -> None:
    """As somebody does who knows the encoding: positions without gaps, a chain that holds, a head that fits."""
    found = connection.execute(select(tables.journal).order_by(at)).mappings().all()
    connection.execute(delete(tables.journal))
    previous, position = journal.GENESIS, 0
    for position, row in enumerate(found, 1):
        fresh = {**row, "position": position}
        fresh["hash"] = previous = journal.chained(fresh, previous)
        connection.execute(tables.journal.insert().values(fresh))
    connection.execute(update(tables.journal_head).values(position=position, hash=previous))


def remove_tail(connection: Connection) -> None:
    connection.execute(delete(tables.journal).where(at > 7))
    rechain(connection)


def remove_case(connection: Connection) -> None:
    last = connection.scalar(select(tables.journal.c.case_id).where(at == 8))
    connection.execute(delete(tables.journal).where(tables.journal.c.case_id == last))
    rechain(connection)


def alter(connection: Connection) -> None:
    connection.execute(update(tables.journal).where(at == 8).values(recorded_at=1))
    rechain(connection)


def remove_row(connection: Connection) -> None:
    connection.execute(delete(tables.journal).where(at == 12))
    rechain(connection)


def remove_everything(connection: Connection) -> None:
    connection.execute(delete(tables.journal))
    rechain(connection)


def in_a_later_epoch(connection: Connection) -> None:
    """As if a backup had been put back, which nobody has signed."""
    connection.execute(update(tables.journal).where(at > 6).values(epoch=2, recorded_at=1))
    connection.execute(update(tables.journal_head).values(epoch=2))
    rechain(connection)


FORGERIES = {
    remove_tail: (5, 9, "rows are missing: the head signed at "),
    remove_case: (1, 4, "these rows are not those of the head signed at "),
    alter: (5, 9, "these rows are not those of the head signed at "),
    remove_row: (10, 14, "these rows are not those of the head signed at "),
    remove_everything: (1, 4, "rows are missing: the head signed at "),
}


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
async def test_a_journal_computed_anew_is_whole_by_itself_and_named_by_the_heads_of_others(
    signed: Signed, forge: Callable[[Connection], None]
) -> None:
    heads = await lived(signed)
    await signed.kernel.write(forge)
    assert (await signed.kernel.read(lambda c: journal.verify(c, 0, 1000))).fault is None
    assert await signed.kernel.read(journal.verify_head) is None
    _, fault = await signed.compared(heads)
    assert fault is not None
    first, last, says = FORGERIES[forge]
    assert (fault.position, fault.to_position, fault.description.startswith(says)) == (first, last, True), fault


async def test_heads_that_stand_in_a_journal_name_what_was_computed_anew_before_them(
    signed: Signed, tmp_path: Path
) -> None:
    await lived(signed)
    async with door(signed.kernel, tmp_path, authority=signed.authority) as opened, opened.open() as client:
        found = await client.verify_journal(pb.VerifyJournalRequest())
        assert (found.finished, found.rows, found.HasField("fault"), found.origin) == (True, 15, False, ORIGIN)
        await signed.kernel.write(alter)
        found = await client.verify_journal(pb.VerifyJournalRequest())
        assert (found.fault.position, found.fault.to_position) == (5, 9)


async def test_heads_are_listed_page_by_page_and_compared(signed: Signed, tmp_path: Path) -> None:
    heads = await lived(signed)
    async with door(signed.kernel, tmp_path, authority=signed.authority) as opened, opened.open(AUDITOR) as client:
        request = pb.ListJournalHeadsRequest(origin=ORIGIN, page_size=2)
        page = await client.list_journal_heads(request)
        assert [(each.position, each.head) for each in page.heads] == [(5, heads[0]), (10, heads[1])]
        request.page_token = page.next_page_token
        page = await client.list_journal_heads(request)
        assert ([each.head for each in page.heads], page.next_page_token) == (heads[2:], "")
        answer = await client.compare_journal(pb.CompareJournalRequest(heads=heads))
        assert answer == pb.CompareJournalResponse(fits_to=14)
        forged = _with(heads[2], position=2**64 - 1)
        answer = await client.compare_journal(pb.CompareJournalRequest(heads=[forged], after_position=9))
        assert (answer.fault.position, answer.fits_to) == (10, 9)
        await signed.kernel.write(remove_tail)
        answer = await client.compare_journal(pb.CompareJournalRequest(heads=heads))
        assert (answer.fits_to, answer.fault.position, answer.fault.to_position) == (4, 5, 9)
        assert "the journal ends at 7" in answer.fault.description


# --- after a restore ---


async def test_after_a_restore_lost_rows_are_explained_once_the_new_epoch_is_signed(
    start: Start, authority: Authority, database_url: str
) -> None:
    async with start(subsystem(authority)) as kernel:
        heads = await lived(Signed(kernel, authority))
    with closing(Database(database_url)) as database, database.writer.begin() as connection:
        remove_tail(connection)
        begin_epoch(connection, datetime.now(UTC))
    async with start(subsystem(authority)) as kernel:
        signed = Signed(kernel, authority)
        _, fault = await signed.compared(heads)
        assert fault is not None
        assert fault.position == 5
        await signed.sign()
        assert await signed.compared(heads) == (4, None)
        for _ in range(4):
            await execute(kernel, step(new_case()))
        await signed.sign()
        assert (await signed.compared([*heads, *await signed.heads()]))[1] is None
        walk = await kernel.read(lambda c: journal.verify(c, 0, 1000))
        assert [(each.position, each.epoch) for each in walk.restored] == [(8, 2)]
        await kernel.write(alter)
        _, fault = await signed.compared(await signed.heads())
        assert fault is not None
        assert fault.position == 8


async def test_nobody_is_believed_that_there_was_a_restore_but_who_has_the_key(
    start: Start, authority: Authority, database_url: str
) -> None:
    async with start(subsystem(authority)) as kernel:
        heads = await lived(Signed(kernel, authority))
    with closing(Database(database_url)) as database, database.writer.begin() as connection:
        in_a_later_epoch(connection)
    async with start(subsystem(authority)) as kernel:
        _, fault = await Signed(kernel, authority).compared(heads)
        assert fault is not None
        assert (fault.position, fault.to_position) == (5, 9)
