"""One bad record or command stops nobody else; a database that fails is waited for, and nothing is set aside."""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import create_engine
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from bridge.ports import Arrived, Cursor, StoreUnavailable, Undecodable
from bridge.record import Record
from ronghe.case.v1 import case_pb2
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel import tables
from servers.kernel.database import is_outage
from servers.kernel.dead_letters import not_redriven, redrive
from servers.kernel.kernel import Kernel
from servers.kernel.operator_acts import Act
from servers.kernel.stream import Refused, StreamKey
from servers.kernel.subsystem import Subsystem
from tests.kernel.conftest import Start
from tests.kernel.drive import absorb, execute, foreign, new_case, one_batch, rows, step
from tests.kernel.operator import OPERATOR, told
from tests.kernel.toy import MIGRATIONS, Counter, Shadow

CURSED = "cursed"


class Cursed(Counter):
    """A step of this name breaks one of the rules."""

    def __init__(self, rule: str) -> None:
        self.rule = rule

    def _strike(self, rule: str, steps: Sequence[Any], error: Exception) -> None:
        if rule == self.rule and any(one.name == CURSED for one in steps):
            raise error

    def concerned(self, record: Record) -> Sequence[StreamKey]:
        self._strike("concerned", [getattr(record.fact, "step", case_pb2.Step())], ValueError())
        return super().concerned(record)

    def may_say(self, state: Any, record: Record) -> bool:
        refusal = Refused(Reason.REASON_ILLEGAL_STATE, "a rule that may not refuse does")
        self._strike("may_say", [getattr(record.fact, "step", case_pb2.Step())], refusal)
        return super().may_say(state, record)

    def timers(self, state: Any) -> Mapping[str, Any]:
        self._strike("timers", state.case.steps, ValueError())
        return super().timers(state)

    def columns(self, state: Any) -> Mapping[str, Any]:
        self._strike("columns", state.case.steps, ValueError())
        taken = state.documents_issued
        if self.rule == "row" and any(one.name == CURSED for one in state.case.steps):
            taken = 2**70
        return {"taken": taken}


class Plain(Shadow):
    """Looks at nothing."""

    def concerned(self, record: Record) -> Sequence[StreamKey]:
        return []


def subsystem(rule: str) -> Subsystem:
    return Subsystem("department-09", [Cursed(rule), Plain()], MIGRATIONS)


def cursed(case_id: str) -> Record:
    return foreign(case_id, event.StepRecorded(occurred_at=Timestamp(seconds=1), step=case_pb2.Step(name=CURSED)))


RULES = ["concerned", "may_say", "timers", "columns", "row"]


@pytest.mark.parametrize("rule", RULES)
async def test_a_record_that_fails_wherever_it_does_is_set_aside_and_all_else_goes_on(start: Start, rule: str) -> None:
    sick = new_case()
    others = [new_case() for _ in range(6)]
    records = [*map(foreign, others[:3]), cursed(sick), foreign(sick), *map(foreign, others[3:])]
    async with start(subsystem(rule)) as kernel:
        async with one_batch(kernel):
            calls = [asyncio.create_task(execute(kernel, step(new_case()))) for _ in range(3)]
            absorbing = [
                asyncio.create_task(absorb(kernel, *records, offset=10)),
                asyncio.create_task(kernel.absorb([Arrived(foreign(others[0]), "kafka/t/1/0")], [])),
            ]
        assert [(await call).version for call in calls] == [1, 1, 1]
        await asyncio.gather(*absorbing)
        letters = await rows(kernel, tables.dead_letter)
        assert [(letter.case_id, letter.source.partition("#")[0]) for letter in letters] == [
            (sick, "kafka/t/0/13"),
            (sick, "kafka/t/0/14"),
        ]
        journal = await rows(kernel)
        assert {row.case_id for row in journal} >= set(others)
        assert sick not in {row.case_id for row in journal}
        assert [row.position for row in journal] == list(range(1, len(journal) + 1))
        assert await kernel.cursors("kafka/t/0") == [Cursor("kafka/t/0", {"offset": 18})]


@pytest.mark.parametrize("rule", RULES[2:])
async def test_a_command_that_fails_wherever_it_does_is_answered_and_all_else_goes_on(start: Start, rule: str) -> None:
    async with start(subsystem(rule)) as kernel:
        async with one_batch(kernel):
            names = ["look", CURSED, "look", "look"]
            calls = [asyncio.create_task(execute(kernel, step(new_case(), name))) for name in names]
            absorbing = asyncio.create_task(absorb(kernel, foreign(new_case())))
        results = await asyncio.gather(*calls, absorbing, return_exceptions=True)
        assert [isinstance(result, Exception) for result in results] == [False, True, False, False, False]
        assert not isinstance(results[1], StoreUnavailable | Refused)
        assert len(await rows(kernel)) == 4


async def test_a_state_that_can_no_longer_be_read_stops_only_its_own_case(start: Start) -> None:
    sick, well = new_case(), new_case()
    async with start() as kernel:
        await execute(kernel, step(sick))
        await kernel.write(lambda c: c.execute(Counter.table.update().values(snapshot=b"\xff")))
    async with start() as kernel:
        await absorb(kernel, foreign(well), foreign(sick), foreign(well))
        assert [letter.case_id for letter in await rows(kernel, tables.dead_letter)] == [sick]
        assert len([row for row in await rows(kernel) if row.case_id == well]) == 4


def redriving(dead_letter_id: int) -> Act:
    command = told(pb.RedriveDeadLetterRequest, dead_letter_id=dead_letter_id)
    return Act(command, OPERATOR, time.monotonic() + 10, redrive, not_redriven)


async def test_a_redrive_of_a_state_that_cannot_be_read_leaves_nothing_half_read_behind(start: Start) -> None:
    sick = new_case()
    async with start() as kernel:
        await execute(kernel, step(sick))
        await kernel.write(lambda c: c.execute(Counter.table.update().values(snapshot=b"\xff")))
    async with start() as kernel:
        await absorb(kernel, foreign(sick))
        (letter,) = await rows(kernel, tables.dead_letter)
        with pytest.raises(Refused, match="DecodeError"):
            await kernel.operate(redriving(letter.id))
        journal = await rows(kernel)
        with pytest.raises(DecodeError):
            await execute(kernel, step(sick))
        assert await rows(kernel) == journal


async def test_what_a_failed_record_did_to_a_state_is_gone_when_its_case_goes_on(kernel: Kernel) -> None:
    case_id = new_case()
    poison = event.WithdrawalRequested(occurred_at=Timestamp(seconds=1), reason="poison")
    await execute(kernel, step(case_id))
    async with one_batch(kernel):
        stepping = asyncio.create_task(execute(kernel, step(case_id, "thrice")))
        absorbing = asyncio.create_task(absorb(kernel, foreign(case_id, poison)))
    assert (await stepping).version == 4
    await absorbing
    assert (await execute(kernel, step(case_id))).version == 5
    (stored,) = await rows(kernel, Counter.table)
    assert (stored.version, stored.taken) == (5, 5)


async def test_a_redrive_that_fails_in_the_writing_leaves_everything_as_it_was(start: Start) -> None:
    async with start(subsystem("columns")) as kernel:
        await absorb(kernel, cursed(new_case()))
        (letter,) = await rows(kernel, tables.dead_letter)
        async with one_batch(kernel):
            call = asyncio.create_task(execute(kernel, step(new_case())))
            act = asyncio.create_task(kernel.operate(redriving(letter.id)))
        with pytest.raises(Refused, match=f"dead letter {letter.id} cannot be taken in") as refused:
            await act
        assert refused.value.reason == Reason.REASON_REDRIVE_FAILED
        assert (await call).version == 1
        assert await rows(kernel, tables.dead_letter) == [letter]
        assert [row.refusal for row in await rows(kernel, tables.operator_act)] == [
            f"REDRIVE_FAILED: {refused.value.message}"
        ]


async def test_a_record_that_fails_early_is_set_aside_once_however_often_it_comes(start: Start) -> None:
    record = cursed(new_case())
    async with start(subsystem("concerned")) as kernel:
        for offset in (0, 10, 20):
            await absorb(kernel, record, offset=offset)
        assert len(await rows(kernel, tables.dead_letter)) == 1


def with_long_origin(record: Record) -> Record:
    """No index of PostgreSQL takes as much as this; it cannot be compressed."""
    return record._replace(origin=secrets.token_hex(20_000))


def with_nul_in_its_stream(record: Record) -> Record:
    return record._replace(stream="elsewhere/\0")


def with_nul_in_its_origin(record: Record) -> Record:
    return record._replace(origin="intake\0-01")


def with_nul_in_its_type(record: Record) -> Record:
    return record._replace(type="ronghe.event.v9.\0New", fact=None)


@pytest.mark.parametrize(
    "change", [with_long_origin, with_nul_in_its_stream, with_nul_in_its_origin, with_nul_in_its_type]
)
async def test_a_record_that_the_database_cannot_store_stops_nobody_and_is_no_outage(
    kernel: Kernel, change: Callable[[Record], Record]
) -> None:
    bad, well = change(foreign(new_case())), new_case()
    async with one_batch(kernel):
        call = asyncio.create_task(execute(kernel, step(new_case())))
        absorbing = asyncio.create_task(absorb(kernel, foreign(well), bad, foreign(well)))
    assert (await call).version == 1
    await absorbing
    assert len([row for row in await rows(kernel) if row.case_id == well]) == 4
    # SQLite stores it; PostgreSQL cannot.
    letters = await rows(kernel, tables.dead_letter)
    places = [letter.source.partition("#")[0] for letter in letters]
    assert places == ([] if kernel.database.is_sqlite else ["kafka/t/0/1"])
    assert "\0" not in "".join(
        f"{letter.case_id}{letter.event_id}{letter.origin}{letter.problem}" for letter in letters
    )


async def test_what_is_no_record_is_set_aside_whatever_is_in_its_envelope(kernel: Kernel) -> None:
    headers = {"ce_id": b"\0a", "ce_source": b"b\0", "ce_type": b"\xff\0", "\0": b"\0"}
    await kernel.absorb([Undecodable("kafka/t/0/1", "c\0", headers, b"\0", "it holds a \0")], [])
    (letter,) = await rows(kernel, tables.dead_letter)
    assert (letter.case_id, letter.event_id, letter.origin) == ("c", "a", "b")


async def test_a_database_that_takes_no_writes_is_waited_for_and_nothing_is_set_aside(
    kernel: Kernel, database_url: str
) -> None:
    """A full disk, or a standby that is not promoted yet."""
    give_back = await (fill_up(kernel) if kernel.database.is_sqlite else make_read_only(kernel, database_url))
    records = [foreign(new_case(), said_at_length()) for _ in range(4)]
    with pytest.raises(StoreUnavailable):
        await absorb(kernel, *records)
    give_back()
    await absorb(kernel, *records)
    assert await rows(kernel, tables.dead_letter) == []
    assert len(await rows(kernel)) == 8


def said_at_length() -> Message:
    return event.StepRecorded(occurred_at=Timestamp(seconds=1), step=case_pb2.Step(name="x", opinion="x" * 100_000))


async def fill_up(kernel: Kernel) -> Callable[[], None]:
    """The limit is the connection's, which is made anew after an outage."""
    await kernel.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=1"))
    return lambda: None


async def make_read_only(kernel: Kernel, url: str) -> Callable[[], None]:
    def alter(to: str) -> None:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("SET default_transaction_read_only = off")
            connection.exec_driver_sql(
                f'ALTER DATABASE "{engine.url.database}" SET default_transaction_read_only = {to}'
            )
        engine.dispose()

    alter("on")
    kernel.database.writer.dispose()
    return lambda: alter("off")


def test_it_is_an_outage_when_no_connection_is_free() -> None:
    assert is_outage(NoConnectionFree())


async def test_a_host_that_has_gone_silent_is_given_up_after_seconds(start: Start) -> None:
    async with start() as kernel:
        if kernel.database.is_sqlite:
            pytest.skip("SQLite has no host")
        for engine in (kernel.database.writer, kernel.database.reader):
            with engine.connect() as connection:
                told: Any = connection.connection.driver_connection
                options = told.info.get_parameters()
                idle, interval, count = (int(options[f"keepalives_{n}"]) for n in ("idle", "interval", "count"))
                assert idle + interval * count <= 10
                assert int(options["tcp_user_timeout"]) <= 10_000
