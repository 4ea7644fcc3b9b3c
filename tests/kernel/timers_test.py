"""Timers fire once, only while they are wanted, and whatever becomes of others."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ronghe.department.v1 import department_service_pb2 as department
from servers.kernel import tables
from servers.kernel.kernel import Kernel
from servers.kernel.stream import Scope, StreamKey
from servers.kernel.subsystem import Subsystem
from servers.kernel.units import Expire
from tests.kernel.conftest import Start
from tests.kernel.drive import absorb, execute, foreign, new_case, rows, step, types
from tests.kernel.isolation_test import one_batch
from tests.kernel.toy import MIGRATIONS, Counter, Shadow


class Hands:
    """A clock that is moved by hand."""

    boot = "by hand"

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 23, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def uptime(self) -> timedelta:
        return self.moment - datetime(2026, 1, 1, tzinfo=UTC)


def timed(case_id: str, ended_at: datetime) -> Message:
    """The toy closes the case a second later."""
    end = Timestamp()
    end.FromDatetime(ended_at)
    return step(case_id, "timed", ended_at=end)


def subsystem(counter: Counter) -> Subsystem:
    return Subsystem("department-09", [counter, Shadow()], MIGRATIONS)


async def closed(kernel: Kernel, count: int = 1) -> None:
    async with asyncio.timeout(60):
        while (await types(kernel)).count("Closed") < count:
            await kernel.wait_beyond(kernel.signals.position)


async def test_a_timer_that_an_earlier_command_of_its_batch_made_void_does_not_fire(start: Start) -> None:
    case, clock = new_case(), Hands()
    async with start(clock=clock) as kernel:
        await execute(kernel, timed(case, clock.now() + timedelta(hours=1)))
        async with one_batch(kernel):
            clock.moment += timedelta(hours=2)
            answer = asyncio.create_task(execute(kernel, department.CloseCaseRequest(request_id=case, case_id=case)))
            firing = asyncio.create_task(kernel.expire(Expire(StreamKey("counter", case, case), "timed")))
        await asyncio.gather(answer, firing)
        assert await types(kernel) == ["StepRecorded", "SupplementLate", "Closed"]
        assert await rows(kernel, tables.timer) == []


async def test_a_timer_that_an_earlier_command_of_its_batch_moved_fires_at_its_new_time(start: Start) -> None:
    case, clock = new_case(), Hands()
    async with start(clock=clock) as kernel:
        await execute(kernel, timed(case, clock.now() + timedelta(hours=1)))
        async with one_batch(kernel):
            clock.moment += timedelta(hours=2)
            moving = asyncio.create_task(execute(kernel, timed(case, clock.now() + timedelta(hours=1))))
            firing = asyncio.create_task(kernel.expire(Expire(StreamKey("counter", case, case), "timed")))
        await asyncio.gather(moving, firing)
        assert "Closed" not in await types(kernel)
        clock.moment += timedelta(hours=2)
        await closed(kernel)
        assert await rows(kernel, tables.timer) == []


class Patient(Counter):
    """Nothing follows from its timer until it is told so."""

    ready = False

    def expire(self, state: Any, timer: str, scope: Scope) -> Sequence[Message]:
        return super().expire(state, timer, scope) if self.ready else ()


async def test_a_timer_that_is_still_wanted_after_it_fired_stays_and_fires_again(start: Start) -> None:
    case, clock, rules = new_case(), Hands(), Patient()
    async with start(subsystem(rules), clock=clock) as kernel:
        await execute(kernel, timed(case, clock.now() - timedelta(hours=1)))
        await kernel.expire(Expire(StreamKey("counter", case, case), "timed"))
        assert len(await rows(kernel, tables.timer)) == 1
        rules.ready = True
        clock.moment += timedelta(minutes=1)
        await closed(kernel)
        assert await rows(kernel, tables.timer) == []


async def test_a_stored_timer_that_the_rules_do_not_know_any_more_is_cleared(kernel: Kernel) -> None:
    case = new_case()
    await execute(kernel, step(case))
    row = {"stream": f"counter/{case}", "name": "of old rules", "case_id": case, "due_at": 0}
    await kernel.write(lambda connection: connection.execute(tables.timer.insert().values(**row)))
    await kernel.expire(Expire(StreamKey("counter", case, case), "of old rules"))
    assert await rows(kernel, tables.timer) == []
    assert "Closed" not in await types(kernel)


class Renamed(Counter):
    """The next version of the rules calls its timer otherwise."""

    fold_version = 2

    def timers(self, state: Any) -> Mapping[str, datetime]:
        return {f"{name} anew": due for name, due in super().timers(state).items()}


async def test_timers_follow_the_rules_when_a_state_is_folded_again(start: Start) -> None:
    case, later = new_case(), datetime.now(UTC) + timedelta(hours=1)
    async with start() as kernel:
        await execute(kernel, timed(case, later))
    async with start(subsystem(Renamed())) as kernel:
        await absorb(kernel, foreign(case))
        assert [row.name for row in await rows(kernel, tables.timer)] == ["timed anew"]


class Failing(Counter):
    """Some cases' timers always fail."""

    def __init__(self, bad: Sequence[str]) -> None:
        self.bad = bad
        self.tried = 0

    def expire(self, state: Any, timer: str, scope: Scope) -> Sequence[Message]:
        if state.case.steps[0].opinion in self.bad:
            self.tried += 1
            raise ValueError
        return super().expire(state, timer, scope)


async def test_timers_that_fail_keep_no_other_waiting_and_are_tried_again_later(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servers.kernel.timers.AT_ONCE", 2)
    clock, rules = Hands(), Failing(["bad"])
    begin = clock.now() + timedelta(hours=1)
    async with start(subsystem(rules), clock=clock) as kernel:
        for number, opinion in enumerate(["bad"] * 5 + ["good"]):
            command: Any = timed(new_case(), begin + timedelta(seconds=number))
            command.step.opinion = opinion
            await execute(kernel, command)
        clock.moment += timedelta(hours=2)
        await closed(kernel)
        await asyncio.sleep(2.5)  # further looks leave those alone that have just failed
        assert rules.tried == 5
        rules.bad = []
        clock.moment += timedelta(minutes=1)
        await closed(kernel, 6)
        assert await rows(kernel, tables.timer) == []


async def test_the_process_ends_when_the_timers_do(start: Start) -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    try:
        async with start() as kernel, asyncio.timeout(60):
            await kernel.write(lambda connection: connection.exec_driver_sql("DROP TABLE timer"))
            await ended.wait()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
