import asyncio
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Connection, MetaData, text

import servers
from bridge.ports import StoreUnavailable, Undecodable
from bridge.record import Record
from clients.identity import Identity
from clients.telemetry import SpanContext, event_span_id, trace_id
from ronghe.case.v1 import case_pb2
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from servers.kernel import journal, tables
from servers.kernel import migrate as migrations
from servers.kernel.database import Database
from servers.kernel.kernel import Kernel
from servers.kernel.stream import Refused
from servers.kernel.subsystem import Subsystem
from tests.kernel.conftest import Spans, Start
from tests.kernel.drive import ORGAN, ToyCall, absorb, execute, foreign, new_case, one_batch, rows, step, types
from tests.kernel.toy import Counter, toy

ID = str(uuid4())


async def test_a_command_is_durable_when_it_is_answered(start: Start) -> None:
    case = new_case()
    async with start() as first:
        assert (await execute(first, step(case))).version == 1
    async with start() as second:
        assert await types(second) == ["StepRecorded", "SupplementLate"]


async def test_a_refused_command_changes_nothing(kernel: Kernel) -> None:
    with pytest.raises(Refused) as refused:
        await execute(kernel, step(new_case(), "refused"))
    assert refused.value.reason == Reason.REASON_ILLEGAL_STATE
    assert await rows(kernel) == []


async def test_the_same_request_has_one_effect_and_one_answer(start: Start) -> None:
    command = step(new_case())
    async with start() as first:
        answers = await asyncio.gather(*(execute(first, command) for _ in range(5)))
    async with start() as second:
        answers.append(await execute(second, command))
        assert {answer.version for answer in answers} == {1}
        assert len(await rows(second)) == 2


async def test_a_request_id_is_the_callers_own(kernel: Kernel) -> None:
    command = step(new_case())
    await execute(kernel, command)
    assert (await execute(kernel, command, Identity("organ", "another"))).version == 2


async def test_a_request_id_with_another_body_is_refused(kernel: Kernel) -> None:
    case = new_case()
    await execute(kernel, step(case, "one", request_id=ID))
    with pytest.raises(Refused) as refused:
        await execute(kernel, step(case, "two", request_id=ID))
    assert refused.value.reason == Reason.REASON_REQUEST_ID_REUSED


async def test_a_refused_request_may_succeed_later_under_the_same_id(kernel: Kernel) -> None:
    """Only OK is remembered."""
    case, refused = new_case(), step(new_case(), "refused", request_id=ID)
    with pytest.raises(Refused):
        await execute(kernel, refused)
    assert (await execute(kernel, step(case, "look", request_id=ID))).version == 1


async def test_a_bug_in_a_rule_fails_its_own_command_only(kernel: Kernel) -> None:
    case = new_case()
    results = await asyncio.gather(
        execute(kernel, step(case)), execute(kernel, step(case, "broken")), execute(kernel, step(case)),
        return_exceptions=True,
    )  # fmt: skip
    assert isinstance(results[1], ZeroDivisionError)
    assert [results[0].version, results[2].version] == [1, 2]


async def test_an_event_over_256_kib_is_refused_before_anything_changes(kernel: Kernel) -> None:
    with pytest.raises(Refused) as refused:
        await execute(kernel, step(new_case(), "huge"))
    assert refused.value.reason == Reason.REASON_TOO_LARGE
    assert await rows(kernel) == []


async def test_a_commands_event_leaves_room_for_what_repeats_it(kernel: Kernel) -> None:
    """From elsewhere, an event of the same size is taken."""
    long = case_pb2.Step(name="look", opinion="x" * 250 * 1024)
    with pytest.raises(Refused) as refused:
        await execute(kernel, step(new_case(), opinion=long.opinion))
    assert refused.value.reason == Reason.REASON_TOO_LARGE
    await absorb(kernel, foreign(new_case(), event.StepRecorded(step=long)))
    assert await types(kernel) == ["StepRecorded", "SupplementLate"]


async def test_a_command_past_its_deadline_is_dropped_undecided(kernel: Kernel) -> None:
    with pytest.raises(Refused) as refused:
        await execute(kernel, step(new_case()), seconds=-1)
    assert refused.value.reason == Reason.REASON_DEADLINE_EXCEEDED
    assert await rows(kernel) == []


async def test_a_stale_version_is_refused_with_what_happened_since(kernel: Kernel) -> None:
    case = new_case()
    await execute(kernel, step(case))
    await absorb(kernel, foreign(case))
    stale = department.DecideApplicationRequest(request_id=ID, case_id=case, if_version=1)
    with pytest.raises(Refused) as refused:
        await execute(kernel, stale)
    assert refused.value.metadata == {"version": "2", "events": "StepRecorded"}


async def test_numbers_are_counted_without_gaps_in_the_transaction(start: Start) -> None:
    async with start() as one, start() as two:
        await asyncio.gather(*(execute(k, step(new_case(), "numbered")) for _ in range(10) for k in (one, two)))
        steps = [journal.parse_fact(row.type, row.body) for row in await rows(one) if row.type.endswith("StepRecorded")]
    assert sorted(int(fact.step.opinion) for fact in steps) == list(range(1, 21))


async def test_positions_have_no_gaps_and_versions_are_in_order_with_several_replicas(start: Start) -> None:
    cases = [new_case() for _ in range(7)]
    async with start() as one, start() as two, start() as three:
        await asyncio.gather(*(execute(k, step(cases[n % 7])) for n, k in enumerate([one, two, three] * 20)))
        found = await rows(one)
        assert await one.read(lambda c: journal.verify(c, 0, 1000)) == journal.Walk(120, 120)
        assert await one.read(journal.verify_head) is None
    assert [row.position for row in found] == list(range(1, 121))
    for case in cases:
        versions = [row.version for row in found if row.stream == f"counter/{case}"]
        assert versions == list(range(1, len(versions) + 1))


async def test_a_fact_meets_every_stream_it_concerns_in_the_same_transaction(kernel: Kernel) -> None:
    case = new_case()
    await execute(kernel, step(case))
    counter, shadow = await rows(kernel)
    assert (counter.stream, shadow.stream) == (f"counter/{case}", f"shadow/{case}")
    assert shadow.causes == counter.event_id
    assert shadow.version == 2  # it took the step in before it spoke


async def test_a_foreign_record_is_taken_in_once(start: Start) -> None:
    record = foreign(new_case())
    async with start() as one, start() as two:
        await asyncio.gather(*(absorb(kernel, record, record) for kernel in (one, two, one)))
        found = await rows(one)
    assert [row.origin for row in found] == ["intake-01", "department-09"]
    assert found[0].event_id == record.event_id


async def test_a_repeated_reaction_makes_the_same_event_id(start: Start, database_url: str) -> None:
    record = foreign(new_case())
    async with start() as kernel:
        await absorb(kernel, record)
        (_, reaction) = await rows(kernel)
        await kernel.write(lambda connection: [connection.execute(table.delete()) for table in (
            tables.journal, Counter.table, toy().streams["shadow"].table)])  # fmt: skip
    async with start() as kernel:
        await absorb(kernel, record)
        assert (await rows(kernel))[1].event_id == reaction.event_id


async def test_the_cursor_moves_in_the_transaction_of_its_records(start: Start) -> None:
    async with start() as kernel:
        await absorb(kernel, foreign(new_case()), offset=41)
    async with start() as again:
        assert [(c.name, c.value) for c in await again.cursors("kafka/")] == [("kafka/t/0", {"offset": 42})]


async def test_poison_is_set_aside_with_its_case_and_the_others_go_on(kernel: Kernel) -> None:
    sick, well = new_case(), new_case()
    poison = event.WithdrawalRequested(occurred_at=Timestamp(seconds=1), reason="poison")
    await absorb(kernel, foreign(sick, poison), foreign(sick), foreign(well))
    parked = await rows(kernel, tables.dead_letter)
    assert [row.case_id for row in parked] == [sick, sick]
    assert parked[0].problem.startswith("ValueError")
    assert "personal" not in parked[0].problem
    assert {row.case_id for row in await rows(kernel)} == {well}


async def test_a_later_record_of_a_parked_case_waits_behind_it(kernel: Kernel) -> None:
    case = new_case()
    await absorb(kernel, foreign(case, origin="liar-01"))
    await absorb(kernel, foreign(case), offset=1)
    assert [row.problem[:8] for row in await rows(kernel, tables.dead_letter)] == ["liar-01 ", "waits be"]
    assert await rows(kernel) == []


async def test_what_cannot_be_decoded_is_set_aside_and_the_cursor_moves(kernel: Kernel) -> None:
    item = Undecodable("kafka/t/0/7", "", {"ce_id": b"\xff"}, b"\xff\xff", "no case id")
    await kernel.absorb([item], [])
    (row,) = await rows(kernel, tables.dead_letter)
    assert row.source.startswith("kafka/t/0/7#")
    assert (row.problem, row.body) == ("no case id", b"\xff\xff")


async def test_an_unknown_type_is_journaled_raw_and_blocks_nothing(kernel: Kernel) -> None:
    case = new_case()
    known = foreign(case)
    unknown = Record(
        str(uuid4()), "intake-01", case, "x/y", 1, (), known.recorded_at, "ronghe.event.v9.New", b"\1\2", None
    )
    await absorb(kernel, unknown, known)
    assert await types(kernel) == ["New", "StepRecorded", "SupplementLate"]


async def test_a_record_that_concerns_nothing_here_is_not_kept(kernel: Kernel) -> None:
    await absorb(kernel, foreign(new_case(), event.WithdrawalDeclined()))
    assert await rows(kernel) == []


async def test_a_state_of_another_fold_version_is_folded_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    case = new_case()
    async with start() as kernel:
        for _ in range(3):
            await execute(kernel, step(case))
        await kernel.write(lambda c: c.execute(Counter.table.update().values(snapshot=b"", version=99)))
    monkeypatch.setattr(Counter, "fold_version", 2)
    async with start() as kernel:
        assert (await execute(kernel, step(case))).version == 4
        (row,) = await rows(kernel, Counter.table)
    assert (row.taken, row.fold_version) == (4, 2)


async def test_a_timer_fires_when_it_is_due_and_once(start: Start) -> None:
    case = new_case()
    async with start(), start() as kernel:
        now = Timestamp()
        now.FromDatetime(datetime.now(UTC) - timedelta(seconds=0.5))
        await execute(kernel, step(case, "timed", ended_at=now))
        async with asyncio.timeout(60):
            while "Closed" not in await types(kernel):
                await kernel.wait_beyond(kernel.signals.position)
        await asyncio.sleep(1.2)  # a second look finds nothing more
        assert (await types(kernel)).count("Closed") == 1
        assert await rows(kernel, tables.timer) == []


async def test_a_timer_that_no_longer_matters_is_cleared(kernel: Kernel) -> None:
    case = new_case()
    later = Timestamp(seconds=int(time.time()) + 3600)
    await execute(kernel, step(case, "timed", ended_at=later))
    assert len(await rows(kernel, tables.timer)) == 1
    await execute(kernel, department.CloseCaseRequest(request_id=ID, case_id=case))
    assert await rows(kernel, tables.timer) == []


async def test_only_own_rows_and_rows_from_an_inbox_are_published(kernel: Kernel) -> None:
    case = new_case()
    await absorb(kernel, foreign(case))
    await execute(kernel, step(case))
    records, looked = await kernel.unpublished(0, 10)
    assert ([record.origin for record in records], looked) == (["department-09"] * 3, 4)
    records, looked = await kernel.unpublished(2, 1)
    assert ([record.position for record in records], looked) == ([3], 3)


async def test_an_event_has_a_span_derived_from_its_id_and_linked_to_its_call(kernel: Kernel, spans: Spans) -> None:
    case, call = new_case(), SpanContext(1, 2)
    await kernel.execute(step(case), ToyCall(ORGAN, time.monotonic() + 5, call), Message)
    cause, reaction = await rows(kernel)
    first, second = spans.records
    assert first["context"] == SpanContext(trace_id(case), event_span_id(cause.event_id))
    assert (first["parent"], first["links"]) == (None, [call])
    assert second["parent"] == first["context"].span_id
    assert second["start_ns"] <= second["end_ns"]
    assert reaction.call == cause.call


async def test_waiting_calls_are_bounded(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servers.kernel.writer.MAX_WAITING_CALLS", 3)
    results = await asyncio.gather(*(execute(kernel, step(new_case())) for _ in range(50)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Refused)]
    assert refused
    assert {result.reason for result in refused} == {Reason.REASON_OVERLOADED}
    assert len(await rows(kernel)) == 2 * (50 - len(refused))


@pytest.mark.parametrize(
    ("longest", "error"),
    [(60.0, Refused), (0.0, StoreUnavailable)],
    ids=["behind others' work", "where the database stands still"],
)
async def test_a_call_whose_turn_does_not_come_is_told_why_and_not_done(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, longest: float, error: type[Exception]
) -> None:
    monkeypatch.setattr("servers.kernel.writer.LONGEST_WAIT_SECONDS", longest)
    many = [step(new_case()), step(new_case())]
    async with one_batch(kernel):
        (alone,) = await asyncio.gather(execute(kernel, step(new_case()), seconds=0.5), return_exceptions=True)
        together = await kernel.execute_all(many, ToyCall(ORGAN, time.monotonic() + 0.5))
    outcomes = [alone, *together]
    assert [type(outcome) for outcome in outcomes] == [error] * 3
    assert {each.reason for each in outcomes if isinstance(each, Refused)} <= {Reason.REASON_OVERLOADED}
    assert await rows(kernel) == []


async def test_calls_are_refused_where_the_first_has_waited_too_long(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servers.kernel.writer.LONGEST_WAIT_SECONDS", 0.1)
    async with one_batch(kernel):
        first = asyncio.create_task(execute(kernel, step(new_case())))
        await asyncio.sleep(0.15)
        with pytest.raises(Refused) as refused:
            await execute(kernel, step(new_case()))
    assert refused.value.reason == Reason.REASON_OVERLOADED
    assert (await first).version == 1
    assert (await execute(kernel, step(new_case()))).version == 1


async def test_what_was_queued_before_the_stop_is_finished(start: Start) -> None:
    async with start() as kernel:
        waiting = [asyncio.create_task(execute(kernel, step(new_case()))) for _ in range(20)]
        await asyncio.sleep(0)
    assert {(await task).version for task in waiting} == {1}


@pytest.mark.parametrize(
    ("change", "position"),
    [
        ("UPDATE journal SET body = x WHERE position = 2", 2),
        ("UPDATE journal SET case_id = 'other' WHERE position = 3", 3),
        ("DELETE FROM journal WHERE position = 2", 2),
        ("DELETE FROM journal WHERE position = 4", 3),
    ],
)
async def test_the_chain_shows_what_was_altered_or_removed(kernel: Kernel, change: str, position: int) -> None:
    case = new_case()
    await execute(kernel, step(case))
    await execute(kernel, step(case))
    quoted = change.replace("= x ", "= X'00' " if kernel.database.is_sqlite else "= '\\x00'::bytea ")
    await kernel.write(lambda connection: connection.exec_driver_sql(quoted))
    fault = (await kernel.read(lambda c: journal.verify(c, 0, 100))).fault or await kernel.read(journal.verify_head)
    assert fault is not None
    assert fault.position == position


@pytest.mark.parametrize("name", ["intake", "governance", "department"])
def test_only_a_database_that_lacks_something_is_migrated(
    name: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subsystem = Subsystem(f"{name}-01", [], Path(servers.__path__[0]) / name / "migrations")
    upgraded: list[Connection] = []
    *_, before, newest = sorted(path.stem for path in (migrations.HERE / "versions").glob("*.py"))
    with closing(Database(database_url)) as database:
        migrations.migrate(database, subsystem)
        monkeypatch.setattr(migrations, "_upgrade", lambda connection, folders: upgraded.append(connection))
        migrations.migrate(database, subsystem)
        assert not upgraded
        with database.writer.begin() as connection:
            back = text("UPDATE alembic_version SET version_num = :before WHERE version_num = :newest")
            assert connection.execute(back, {"before": before, "newest": newest}).rowcount == 1
        migrations.migrate(database, subsystem)
        assert upgraded


async def test_the_migrations_make_the_tables_that_the_code_expects(kernel: Kernel) -> None:
    def differences(connection: Connection) -> list[object]:
        metadata = MetaData()
        expected = [*tables.metadata.tables.values(), Counter.table, toy().streams["shadow"].table]
        for table in expected:
            table.to_metadata(metadata)
        options = {"include_name": lambda name, kind, _: kind != "table" or name in metadata.tables}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        # Comments are for readers of the code.
        return [difference for difference in found if "comment" not in str(difference)]

    assert await kernel.read(differences) == []
