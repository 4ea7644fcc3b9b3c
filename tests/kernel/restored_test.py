"""A database that was put back from a backup: what it learns again, and what the new epoch changes."""

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import event as engine_event
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from bridge.ports import Arrived, StoreUnavailable, Undecodable
from bridge.record import Arrival, Record
from bridge.relearning import Lesson, Order, Relearned, waited_out
from clients.backoff import Backoff
from clients.identity import Identity
from ronghe.event.v1 import event_pb2 as event
from servers.kernel import background, journal, tables
from servers.kernel.database import Database
from servers.kernel.inbox import Acknowledgement
from servers.kernel.kernel import Kernel, running
from servers.kernel.restored import begin_epoch, relearn_if_restored, relearned
from servers.kernel.stream import Refused, Scope
from servers.kernel.subsystem import Subsystem
from tests import postgres
from tests.kernel.conftest import Spans, Start
from tests.kernel.drive import ORGAN, absorb, execute, foreign, new_case, rows, step, types
from tests.kernel.toy import MIGRATIONS, Counter, Shadow, toy

STRANGER = Identity("organ", "somebody")
NUMBERS = tables.counter


@pytest.fixture
def backup_url(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """An empty database of the same kind: the oldest backup there is."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'backup.db'}"
    return postgres.new_database(request.getfixturevalue("postgres_url"), f"b{uuid4().hex}")


class MendedCounter(Counter):
    """Of a version that can take in what was poison to the one before."""

    def react(self, state: Any, record: Record, scope: Scope) -> Sequence[Message]:
        if isinstance(record.fact, event.WithdrawalRequested):
            return [event.Withdrawn(occurred_at=record.fact.occurred_at)]
        return super().react(state, record, scope)


def mended() -> Subsystem:
    return Subsystem("department-09", [MendedCounter(), Shadow()], MIGRATIONS)


async def put_back(url: str, spans: Spans, after: int = 0) -> None:
    """As restore does, while nobody uses it."""
    async with running(url, toy(), spans):
        pass  # its schema is there
    with closing(Database(url)) as database, database.writer.begin() as connection:
        begin_epoch(connection, datetime.now(UTC), after=after)


async def on_the_topic(kernel: Kernel) -> list[Record]:
    """All that the journal has, as a consumer would get it."""

    def query(connection: Any) -> list[Record]:
        found = connection.execute(tables.journal.select().order_by(tables.journal.c.position))
        return [journal.to_record(row)._replace(arrival=Arrival.KAFKA, position=0) for row in found]

    return await kernel.read(query)


async def relearn(kernel: Kernel, records: Sequence[Record], left_behind: set[str] | None = None) -> None:
    own = {record.event_id: record for record in records if record.origin == kernel.subsystem.origin}
    order = Order(own.values())
    items = [each for record in records for each in order.then(Arrived(record, f"kafka/t/{record.event_id}"))]
    assert order.rest() == []
    await kernel.relearn(items, own, set() if left_behind is None else left_behind)


def words(found: Sequence[Any]) -> list[Any]:
    """What was said, whatever its place: everybody else has it like this."""
    return sorted(
        (row.event_id, row.origin, row.stream, row.version, row.causes, row.body, row.recorded_at) for row in found
    )


async def live_a_while(kernel: Kernel) -> None:
    """Commands, records from elsewhere, and the reactions to both, in several cases."""
    cases = [new_case() for _ in range(4)]
    for case in cases:
        await execute(kernel, step(case))
        await absorb(kernel, foreign(case), foreign(case))
        await execute(kernel, step(case, "look again"))
    withdrawal = event.WithdrawalRequested(occurred_at=Timestamp(seconds=9), reason="so")
    await absorb(kernel, foreign(cases[0], withdrawal), offset=50)


async def test_what_was_said_and_heard_is_learned_again_word_for_word(
    start: Start, backup_url: str, spans: Spans
) -> None:
    async with start() as lost:
        await live_a_while(lost)
        before, topic = words(await rows(lost)), await on_the_topic(lost)
        states = [await rows(lost, table) for table in (Counter.table, Shadow.table)]
    await put_back(backup_url, spans)
    async with running(backup_url, toy(), spans) as kernel:
        await relearn(kernel, topic)
        assert words(await rows(kernel)) == before
        assert [await rows(kernel, table) for table in (Counter.table, Shadow.table)] == states
        assert await rows(kernel, tables.dead_letter) == []
        assert {row.epoch for row in await rows(kernel)} == {2}
        assert (await kernel.unpublished(0, 1000))[0] == []  # it is on the topic already
        await relearn(kernel, topic)  # once more does no harm
        assert words(await rows(kernel)) == before


async def test_a_request_that_was_answered_before_the_loss_gets_its_first_answer(
    start: Start, backup_url: str, spans: Spans
) -> None:
    """Also where it led to several facts, and whichever of them were taken in together."""
    case = new_case()
    requests = [step(case), step(case, "thrice"), step(case)]
    async with start() as lost:
        await execute(lost, requests[0], STRANGER)
        answers = [await execute(lost, request) for request in requests]
        topic = await on_the_topic(lost)
    await put_back(backup_url, spans)
    async with running(backup_url, toy(), spans) as kernel:
        for record in topic:
            await relearn(kernel, [record])
        kernel.writer.originals = {}
        before = await rows(kernel)
        assert [await execute(kernel, request) for request in reversed(requests)] == answers[::-1]
        assert await rows(kernel) == before
        assert (await execute(kernel, requests[2], STRANGER)).version > answers[-1].version


async def test_a_request_that_the_backup_has_keeps_its_body(start: Start, database_url: str, spans: Spans) -> None:
    case, request = new_case(), step(new_case())
    async with start() as kernel:
        answer = await execute(kernel, request)
    await put_back(database_url, spans)
    async with start() as kernel:
        await relearn(kernel, await on_the_topic(kernel))
        assert await execute(kernel, request) == answer
        with pytest.raises(Refused, match="another body"):
            await execute(kernel, step(case, request_id=request.request_id))


async def test_of_a_request_that_was_learned_again_the_body_is_not_known(
    start: Start, backup_url: str, spans: Spans
) -> None:
    """It has one effect all the same."""
    case, request_id = new_case(), str(uuid4())
    async with start() as lost:
        answer = await execute(lost, step(case, "one", request_id))
        topic = await on_the_topic(lost)
    await put_back(backup_url, spans)
    async with running(backup_url, toy(), spans) as kernel:
        await relearn(kernel, topic)
        assert await execute(kernel, step(case, "two", request_id)) == answer
        assert len(await rows(kernel)) == len(topic)


async def test_what_is_decided_again_because_it_was_lost_has_the_id_of_the_first_time(
    start: Start, backup_url: str, spans: Spans
) -> None:
    """Whoever got it nevertheless knows it."""
    request = step(new_case(), "thrice")
    async with start() as lost:
        await execute(lost, request)
        first = {row.event_id for row in await rows(lost)}
    await put_back(backup_url, spans)
    async with running(backup_url, toy(), spans) as kernel:
        await execute(kernel, request)
        assert {row.event_id for row in await rows(kernel)} == first


async def test_requests_of_an_older_schema_are_known(start: Start) -> None:
    """Their key was a text then."""
    request = step(new_case())
    async with start() as kernel:
        answer = await execute(kernel, request)
        key = f"{ORGAN} RecordStepRequest {request.request_id}"
        await kernel.write(lambda connection: connection.execute(tables.request.update().values(key=key)))
        await kernel.write(older)
    async with start() as kernel:
        assert await execute(kernel, request) == answer


def older(connection: Any) -> None:
    """The schema is one of before: since then only rows have changed."""
    statement = "UPDATE alembic_version SET version_num = 'kernel_0006' WHERE version_num LIKE 'kernel%'"
    connection.execute(text(statement))


@pytest.mark.parametrize("left", [True, False], ids=["its effect had left", "its effect had not left"])
async def test_what_came_after_own_words_is_learned_after_them_whatever_the_order_of_the_topic(
    start: Start, backup_url: str, spans: Spans, left: bool
) -> None:
    """A withdrawal stands before a step that was taken before it came."""
    case = new_case()
    asked = foreign(case, event.WithdrawalRequested(occurred_at=Timestamp(seconds=9), reason="so"))
    async with start() as lost:
        await execute(lost, step(case))
        said = await on_the_topic(lost)
        await absorb(lost, asked, offset=50)
        before = words(await rows(lost))
        if left:
            said += (await on_the_topic(lost))[len(said) + 1 :]
    await put_back(backup_url, spans)
    async with running(backup_url, toy(), spans) as kernel:
        await relearn(kernel, [asked, *said])
        assert await types(kernel) == ["StepRecorded", "SupplementLate", "WithdrawalRequested", "Withdrawn"]
        assert (words(await rows(kernel)) == before) == left
        assert [row.version for row in await rows(kernel) if row.stream.startswith("counter")] == [1, 3]
        assert await rows(kernel, tables.dead_letter) == []


async def test_what_the_backup_has_is_not_learned_twice(start: Start, database_url: str, spans: Spans) -> None:
    async with start() as kernel:
        await live_a_while(kernel)
        before, topic = words(await rows(kernel)), await on_the_topic(kernel)
    await put_back(database_url, spans)
    async with start() as kernel:
        assert await kernel.lacking(topic) == []
        await relearn(kernel, topic)
        assert words(await rows(kernel)) == before


async def test_a_lie_on_the_topic_is_left_to_the_consumer(start: Start, database_url: str, spans: Spans) -> None:
    await put_back(database_url, spans)
    async with start() as kernel:
        await relearn(kernel, [foreign(new_case(), origin="liar-01"), foreign(new_case())])
        assert {row.origin for row in await rows(kernel)} == {"intake-01", "department-09"}
        assert await rows(kernel, tables.dead_letter) == []


async def set_aside(kernel: Kernel) -> list[tuple[str, int | None]]:
    """Whose it is and when it was settled, in order."""
    return [(row.origin, row.settled_at) for row in await rows(kernel, tables.dead_letter)]


async def together(kernel: Kernel, records: Sequence[Record]) -> None:
    await relearn(kernel, records)


async def one_by_one(kernel: Kernel, records: Sequence[Record]) -> None:
    left_behind = set[str]()
    for record in records:
        await relearn(kernel, [record], left_behind)


Learn = Callable[[Kernel, Sequence[Record]], Awaitable[None]]


@pytest.mark.parametrize("learn", [together, one_by_one])
@pytest.mark.parametrize("before", [True, False], ids=["set aside before the backup", "and after it"])
async def test_no_record_is_learned_past_one_of_its_case_that_was_set_aside(
    start: Start, database_url: str, spans: Spans, before: bool, learn: Learn
) -> None:
    case, other = new_case(), foreign(new_case())
    topic = [foreign(case, origin="liar-01"), foreign(case), other]
    async with start() as kernel:
        if before:
            await absorb(kernel, topic[0])
            assert await set_aside(kernel) == [("liar-01", None)]
    await put_back(database_url, spans)
    async with start() as kernel:
        await learn(kernel, topic)
        assert {row.case_id for row in await rows(kernel)} == {other.case_id}
        await absorb(kernel, *topic, offset=10)
        assert {row.case_id for row in await rows(kernel)} == {other.case_id}
        assert await set_aside(kernel) == [("liar-01", None), ("intake-01", None)]


async def test_no_record_is_learned_past_one_of_its_case_that_cannot_be_read_or_fails(
    start: Start, database_url: str, spans: Spans
) -> None:
    torn, sick = new_case(), new_case()
    broken = Undecodable("kafka/t/id/0/1", torn, {"ce_source": b"intake-01"}, b"?", "broken")
    poison = foreign(sick, event.WithdrawalRequested(occurred_at=Timestamp(seconds=9), reason="poison"))
    behind = [Arrived(foreign(case), f"kafka/t/{case}") for case in (torn, sick)]
    await put_back(database_url, spans)
    async with start() as kernel:
        items = [broken, Arrived(poison, "kafka/t/id/0/2"), *behind]
        left_behind = set[str]()
        await kernel.relearn(items, {}, left_behind)
        assert (await rows(kernel), await rows(kernel, tables.dead_letter)) == ([], [])
        assert left_behind == {torn, sick}


async def test_what_came_before_a_record_that_is_left_is_learned_though_all_is_done_once_more(
    start: Start, database_url: str, spans: Spans
) -> None:
    """A record of another case that fails undoes the transaction in which it was left."""
    case, sick = new_case(), new_case()
    poison = foreign(sick, event.WithdrawalRequested(occurred_at=Timestamp(seconds=9), reason="poison"))
    before = foreign(case)
    await put_back(database_url, spans)
    async with start() as kernel:
        left_behind = set[str]()
        await relearn(kernel, [before, foreign(case, origin="liar-01"), poison, foreign(case)], left_behind)
        assert [row.event_id for row in await rows(kernel) if row.origin == "intake-01"] == [before.event_id]
        assert left_behind == {case, sick}


async def test_what_cannot_be_read_and_was_given_up_keeps_nobody(start: Start, database_url: str, spans: Spans) -> None:
    case = new_case()
    broken = Undecodable("kafka/t/id/0/1", case, {"ce_source": b"intake-01"}, b"?", "broken")
    behind = foreign(case)
    async with start() as kernel:
        await kernel.absorb([broken], [])
        await kernel.write(lambda connection: connection.execute(tables.dead_letter.update().values(settled_at=1)))
    await put_back(database_url, spans)
    async with start() as kernel:
        left_behind = set[str]()
        await kernel.relearn([broken, Arrived(behind, "kafka/t/id/0/2")], {}, left_behind)
        assert (behind.event_id in {row.event_id for row in await rows(kernel)}, left_behind) == (True, set())


async def test_what_own_words_name_is_learned_though_an_earlier_record_is_set_aside(
    start: Start, backup_url: str, spans: Spans
) -> None:
    """The earlier one was given up after the backup."""
    case = new_case()
    lie, step_after = foreign(case, origin="liar-01"), foreign(case)
    async with start() as lost:
        await absorb(lost, step_after)
        await execute(lost, step(case))
        before, topic = words(await rows(lost)), await on_the_topic(lost)
    await put_back(backup_url, spans)
    async with running(backup_url, toy(), spans) as kernel:
        await relearn(kernel, [lie, *topic])
        assert words(await rows(kernel)) == before
        await absorb(kernel, lie, step_after, offset=10)
        assert await set_aside(kernel) == [("liar-01", None)]


async def test_what_waited_in_the_backup_is_learned_in_its_turn_where_it_can_be_taken_in(
    start: Start, database_url: str, spans: Spans
) -> None:
    case = new_case()
    poison = event.WithdrawalRequested(occurred_at=Timestamp(seconds=9), reason="poison")
    waits, behind = foreign(case, poison), foreign(case)
    async with start() as kernel:
        await absorb(kernel, waits, behind)
        assert await set_aside(kernel) == [("intake-01", None), ("intake-01", None)]
    await put_back(database_url, spans)
    async with start(mended()) as kernel:
        await relearn(kernel, [behind])  # the first one is not on the topic yet
        assert await rows(kernel) == []
        await relearn(kernel, [waits, behind, foreign(case)])
        assert await types(kernel) == [
            "WithdrawalRequested", "Withdrawn", "StepRecorded", "SupplementLate", "StepRecorded", "SupplementLate",
        ]  # fmt: skip
        assert [settled for _, settled in await set_aside(kernel) if settled is None] == []
        await absorb(kernel, foreign(case), offset=10)
        assert len(await rows(kernel)) == 8


async def test_a_timer_is_set_again(start: Start, backup_url: str, spans: Spans) -> None:
    later = Timestamp()
    later.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    async with start() as lost:
        await execute(lost, step(new_case(), "timed", ended_at=later))
        topic, timers = await on_the_topic(lost), await rows(lost, tables.timer)
    await put_back(backup_url, spans)
    async with running(backup_url, toy(), spans) as kernel:
        await relearn(kernel, topic)
        assert await rows(kernel, tables.timer) == timers


async def test_an_epoch_is_never_used_twice_and_its_numbers_are_new(
    start: Start, database_url: str, spans: Spans
) -> None:
    case = new_case()
    async with start() as kernel:
        await execute(kernel, step(case, "numbered"))
    await put_back(database_url, spans, after=6)
    async with start() as kernel:
        await execute(kernel, step(case, "numbered"))
        await execute(kernel, step(case, "numbered"))
        assert await numbers(kernel) == [1, 600_000_001, 600_000_002]
        assert [row.epoch for row in await rows(kernel, tables.journal_head)] == [7]


async def numbers(kernel: Kernel) -> list[int]:
    """Those that were given out, in order."""
    records = [record for record in await on_the_topic(kernel) if record.stream.startswith("counter")]
    return [int(record.fact.step.opinion) for record in records]


@pytest.mark.parametrize("given", [1_200_000, 99_999_998], ids=["over a million", "nearly all"])
async def test_numbers_given_out_after_the_backup_do_not_come_again_however_many_they_were(
    start: Start, database_url: str, spans: Spans, given: int
) -> None:
    case = new_case()
    async with start() as kernel:
        await kernel.write(lambda connection: connection.execute(NUMBERS.insert().values(name="numbers", value=given)))
    await put_back(database_url, spans)
    async with start() as kernel:
        await execute(kernel, step(case, "numbered"))
        assert await numbers(kernel) == [100_000_001]


async def test_an_epoch_gives_out_no_number_of_the_next_one(start: Start) -> None:
    async with start() as kernel:
        all_but_one = NUMBERS.insert().values(name="numbers", value=99_999_998)
        await kernel.write(lambda connection: connection.execute(all_but_one))
        await execute(kernel, step(new_case(), "numbered"))
        with pytest.raises(Refused, match="all numbers of numbers were given out"):
            await execute(kernel, step(new_case(), "numbered"))
        assert await numbers(kernel) == [99_999_999]


async def test_numbers_keep_to_ten_digits_whatever_the_epoch(start: Start, database_url: str, spans: Spans) -> None:
    await put_back(database_url, spans, after=99)
    async with start() as kernel:
        await execute(kernel, step(new_case(), "numbered"))
    await put_back(database_url, spans, after=199)
    async with start() as kernel:
        await execute(kernel, step(new_case(), "numbered"))
        assert await numbers(kernel) == [9_900_000_001, 9_900_000_002]


async def test_a_process_ends_when_its_database_is_put_back_under_it(
    start: Start, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = asyncio.Event()
    monkeypatch.setattr(background.os, "kill", lambda pid, number: ended.set())
    async with start() as kernel:
        await execute(kernel, step(new_case()))
        with closing(Database(database_url)) as database, database.writer.begin() as connection:
            begin_epoch(connection, datetime.now(UTC))
        with pytest.raises(StoreUnavailable, match="epoch 2, this process began in 1"):
            await execute(kernel, step(new_case()))
        await asyncio.wait_for(ended.wait(), 10)
        assert len(await rows(kernel)) == 2


async def test_a_receiver_of_a_later_epoch_gets_everything_again(kernel: Kernel) -> None:
    for _ in range(3):
        await execute(kernel, step(new_case()))
    await kernel.open_session("organ/all", "one", epoch=1)
    await kernel.acknowledge(Acknowledgement("organ/all", "one", [1, 2, 3], []))
    for epoch, waiting in ((1, 0), (0, 0), (2, 3)):
        await kernel.open_session("organ/all", "two", epoch=epoch)
        left = [
            row
            for row in await rows(kernel, tables.inbox)
            if row.receiver == "organ/all" and row.acknowledged_at is None
        ]
        assert len(left) == waiting


async def test_who_asks_before_it_serves_is_called_before_its_timers(database_url: str, spans: Spans) -> None:
    seen: list[int] = []

    async def prepare(kernel: Kernel) -> None:
        seen.append(len(await rows(kernel)))
        await execute(kernel, step(new_case()), ORGAN)

    async with running(database_url, toy(), spans, prepare=prepare) as kernel:
        assert seen == [0]
        assert len(await rows(kernel)) == 2


class TopicLesson:
    """Learns what is on a topic that is a list."""

    def __init__(self, kernel: Kernel, topic: Sequence[Record]) -> None:
        self._kernel = kernel
        self._topic = topic

    async def learn(self) -> Relearned:
        lacking = await self._kernel.lacking(self._topic)
        await waited_out(lambda: relearn(self._kernel, self._topic), Backoff())
        own = [record.event_id for record in lacking if record.origin == self._kernel.subsystem.origin]
        return Relearned(own, len(lacking) - len(own))


async def restored(kernel: Kernel, topic: Sequence[Record]) -> Mapping[str, Any]:
    """Let it learn before it serves; gives what it wrote down about that."""
    await relearn_if_restored(kernel, lambda kernel: cast("Lesson", TopicLesson(kernel, topic)))
    return await kernel.read(relearned)


async def test_what_was_learned_again_is_counted(start: Start, backup_url: str, spans: Spans) -> None:
    case = new_case()
    async with start() as lost:
        for name in ("one", "thrice"):
            await execute(lost, step(case, name))
        await absorb(lost, foreign(case))
        topic = await on_the_topic(lost)
    own = len(topic) - 1
    await put_back(backup_url, spans)
    async with running(backup_url, toy(), spans) as kernel:
        done = {"epoch": 2, "own": own, "foreign": 1, "requests": 2}
        assert await restored(kernel, topic) == done
        assert await restored(kernel, topic) == done  # it was not restored again


async def test_learning_again_asks_nothing_that_takes_longer_the_longer_the_journal_is(
    tmp_path: Path, spans: Spans
) -> None:
    """Else it would not end in time on a large one, and the process would begin anew without end."""
    file, asked = tmp_path / "kernel.db", set[str]()
    async with running(f"sqlite:///{file}", toy(), spans) as kernel:
        await live_a_while(kernel)
        topic = await on_the_topic(kernel)
    await put_back(f"sqlite:///{file}", spans)

    def listen(connection: Any, _: object) -> None:
        connection.set_trace_callback(asked.add)

    engine_event.listen(QueuePool, "connect", listen)
    try:
        async with running(f"sqlite:///{file}", toy(), spans) as kernel:
            asked.clear()
            await restored(kernel, topic)
            looked = {each for each in asked if re.match("SELECT|INSERT|UPDATE|DELETE", each)}
    finally:
        engine_event.remove(QueuePool, "connect", listen)
    with closing(sqlite3.connect(file)) as connection:
        plans = {each: connection.execute(f"EXPLAIN QUERY PLAN {each}").fetchall() for each in looked}
    assert any("journal" in str(plan) for plan in plans.values())
    assert [each for each, plan in plans.items() if re.search(r"SCAN (journal|request)\b", str(plan))] == []


async def test_a_process_ends_when_its_database_is_put_back_while_it_learns(
    start: Start, database_url: str, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for what does not come: the new epoch takes nothing from it."""
    ended = asyncio.Event()
    monkeypatch.setattr(background.os, "kill", lambda pid, number: ended.set())

    async def prepare(kernel: Kernel) -> None:
        with closing(Database(database_url)) as database, database.writer.begin() as connection:
            begin_epoch(connection, datetime.now(UTC))
        learning = asyncio.create_task(restored(kernel, [foreign(new_case())]))
        await asyncio.wait_for(ended.wait(), 10)
        learning.cancel()
        await asyncio.gather(learning, return_exceptions=True)

    await put_back(database_url, spans)
    async with start(prepare=prepare):
        assert ended.is_set()
