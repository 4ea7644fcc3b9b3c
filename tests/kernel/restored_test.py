"""A database that was put back from a backup: what it learns again, and what the new epoch changes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from bridge.ports import Arrived
from bridge.record import Arrival, Record
from ronghe.event.v1 import event_pb2 as event
from servers.kernel import journal, tables
from servers.kernel.inbox import Acknowledgement
from servers.kernel.kernel import Kernel, running
from servers.kernel.restored import begin_epoch
from tests import postgres
from tests.kernel.conftest import Spans, Start
from tests.kernel.drive import ORGAN, absorb, execute, foreign, new_case, rows, step
from tests.kernel.toy import Counter, Shadow, toy


@pytest.fixture
def backup_url(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """An empty database of the same kind: the oldest backup there is."""
    if database_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'backup.db'}"
    return postgres.new_database(request.getfixturevalue("postgres_url"), f"b{uuid4().hex}")


async def put_back(kernel: Kernel, after: int = 0) -> None:
    await kernel.write(lambda connection: begin_epoch(connection, datetime.now(UTC), after=after))


async def on_the_topic(kernel: Kernel) -> list[Record]:
    """All that the journal has, as a consumer would get it."""

    def query(connection: Any) -> list[Record]:
        found = connection.execute(tables.journal.select().order_by(tables.journal.c.position))
        return [replace(journal.to_record(row), arrival=Arrival.KAFKA, position=0) for row in found]

    return await kernel.read(query)


async def relearn(kernel: Kernel, records: Sequence[Record]) -> None:
    own = {str(record.event_id): record for record in records if record.origin == kernel.subsystem.origin}
    await kernel.relearn([Arrived(record, "kafka/t/id/0/0") for record in records], own)


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
    async with running(backup_url, toy(), spans) as kernel:
        await put_back(kernel)
        await relearn(kernel, topic)
        assert words(await rows(kernel)) == before
        assert [await rows(kernel, table) for table in (Counter.table, Shadow.table)] == states
        assert await rows(kernel, tables.dead_letter) == []
        assert {row.epoch for row in await rows(kernel)} == {2}
        assert (await kernel.unpublished(0, 1000))[0] == []  # it is on the topic already
        await relearn(kernel, topic)  # once more does no harm
        assert words(await rows(kernel)) == before


async def test_what_the_backup_has_is_not_learned_twice(start: Start) -> None:
    async with start() as kernel:
        await live_a_while(kernel)
        before, topic = words(await rows(kernel)), await on_the_topic(kernel)
        await put_back(kernel)
        assert await kernel.lacking(topic) == []
        await relearn(kernel, topic)
        assert words(await rows(kernel)) == before


async def test_a_lie_on_the_topic_is_left_to_the_consumer(kernel: Kernel) -> None:
    await put_back(kernel)
    await relearn(kernel, [foreign(new_case(), origin="liar-01"), foreign(new_case())])
    assert {row.origin for row in await rows(kernel)} == {"intake-01", "department-09"}
    assert await rows(kernel, tables.dead_letter) == []


async def test_a_timer_is_set_again(start: Start, backup_url: str, spans: Spans) -> None:
    later = Timestamp()
    later.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    async with start() as lost:
        await execute(lost, step(new_case(), "timed", ended_at=later))
        topic, timers = await on_the_topic(lost), await rows(lost, tables.timer)
    async with running(backup_url, toy(), spans) as kernel:
        await put_back(kernel)
        await relearn(kernel, topic)
        assert await rows(kernel, tables.timer) == timers


async def test_an_epoch_is_never_used_twice_and_its_numbers_are_new(start: Start) -> None:
    async with start() as kernel:
        case = new_case()
        await execute(kernel, step(case, "numbered"))
        await put_back(kernel, after=6)
        await execute(kernel, step(case, "numbered"))
        await execute(kernel, step(case, "numbered"))
        steps = [
            record.fact.step.opinion for record in await on_the_topic(kernel) if record.stream.startswith("counter")
        ]
        assert steps == ["1", "6000001", "6000002"]
        assert [row.epoch for row in await rows(kernel, tables.journal_head)] == [7]


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
