"""What becomes of time when the machine's clock is stepped, and how it passes in a simulation."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from clients.errors import Refused
from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel import tables
from servers.kernel.clock import ClockAdvanced
from servers.kernel.kernel import Kernel
from tests.kernel.conftest import Start
from tests.kernel.drive import execute, new_case, rows, step, types
from tests.kernel.operator import door, told
from tests.kernel.timers_test import closed, timed

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
BEFORE = datetime(2026, 11, 23, 1, tzinfo=UTC)


@dataclass
class Machine:
    """A machine's clocks, moved by hand."""

    moment: datetime = BEFORE
    since: timedelta = field(default=HOUR)
    boot: str = "the first"

    def now(self) -> datetime:
        return self.moment

    def uptime(self) -> timedelta:
        return self.since

    def passes(self, time: timedelta) -> None:
        self.moment += time
        self.since += time

    def is_stepped(self, time: timedelta) -> None:
        self.moment += time


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - it is looked at from outside
            await asyncio.sleep(0.01)


async def stored(kernel: Kernel) -> list[str]:
    return [row.value for row in await rows(kernel, tables.cursor) if row.name.startswith("clock/trusted/")]


async def looked(kernel: Kernel) -> None:
    """Time for two looks of everything that looks once a second."""
    await asyncio.sleep(2.2)


@pytest.mark.parametrize("by", [HOUR, -HOUR, 61 * SECOND, -61 * SECOND])
async def test_after_a_step_time_goes_on_as_before(start: Start, by: timedelta) -> None:
    machine = Machine()
    async with start(clock=machine) as kernel:
        machine.is_stepped(by)
        assert (kernel.clock.step, kernel.clock.now()) == (by, BEFORE)
        machine.passes(SECOND)
        assert kernel.clock.now() == BEFORE + SECOND


@pytest.mark.parametrize("by", [MINUTE, -MINUTE])
async def test_small_steps_are_followed_however_many(start: Start, by: timedelta) -> None:
    machine = Machine()
    async with start(clock=machine) as kernel:
        for number in range(1, 3):
            before = await stored(kernel)
            machine.is_stepped(by)
            await looked(kernel)
            assert await stored(kernel) != before
            await until(lambda: kernel.clock.now() == machine.moment)
            assert (kernel.clock.step, machine.moment) == (timedelta(), BEFORE + number * by)


async def test_a_step_over_a_minute_holds_timers_until_an_operator_confirms_it(start: Start, tmp_path: Path) -> None:
    machine, case = Machine(), new_case()
    async with start(clock=machine) as kernel, door(kernel, tmp_path) as server, server.open() as operator:
        await execute(kernel, timed(case, BEFORE + MINUTE))
        machine.is_stepped(HOUR)
        machine.passes(2 * MINUTE)  # by any clock it is due now
        await looked(kernel)
        assert "Closed" not in await types(kernel)
        status = await operator.get_bridge_status(pb.GetBridgeStatusRequest())
        assert status.clock.step.ToTimedelta() == HOUR
        assert status.now.ToDatetime(UTC) == BEFORE + 2 * MINUTE

        request = told(pb.ConfirmClockRequest)
        request.occurred_at.FromDatetime(machine.moment)
        done = await operator.confirm_clock(request)
        assert (done.step.ToTimedelta(), done.now.ToDatetime(UTC)) == (HOUR, machine.moment)
        await closed(kernel)
        assert kernel.clock.now() == machine.moment
        acts = (await operator.list_operator_acts(pb.ListOperatorActsRequest())).acts
        assert [act.request.TypeName() for act in acts] == ["ronghe.operations.v1.ConfirmClockRequest"]


async def test_timers_fire_again_when_the_clock_has_come_back(start: Start) -> None:
    machine, case = Machine(), new_case()
    async with start(clock=machine) as kernel:
        await execute(kernel, timed(case, BEFORE + MINUTE))
        machine.is_stepped(-HOUR)
        machine.passes(2 * MINUTE)
        await looked(kernel)
        assert "Closed" not in await types(kernel)
        machine.is_stepped(HOUR)
        await closed(kernel)


async def test_a_step_while_the_due_timers_are_read_holds_them(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, case = Machine(), new_case()
    async with start(clock=machine) as kernel:
        await execute(kernel, timed(case, BEFORE + MINUTE))
        read: Any = kernel.read

        async def stepped_meanwhile(work: Any) -> Any:
            found = await read(work)
            if getattr(work, "__name__", "") == "_due" and found and not kernel.clock.step:
                machine.is_stepped(HOUR)
            return found

        monkeypatch.setattr(kernel, "read", stepped_meanwhile)
        machine.passes(2 * MINUTE)
        await until(lambda: bool(kernel.clock.step))
        await looked(kernel)
        assert "Closed" not in await types(kernel)


async def test_a_step_is_known_after_a_restart_too(start: Start) -> None:
    machine, case = Machine(), new_case()
    async with start(clock=machine) as kernel:
        await execute(kernel, timed(case, BEFORE + MINUTE))
        await looked(kernel)
    machine.is_stepped(HOUR)
    async with start(clock=machine) as kernel:
        await looked(kernel)
        assert (kernel.clock.step, kernel.clock.now()) == (HOUR, BEFORE)
        assert "Closed" not in await types(kernel)


async def test_after_a_reboot_the_clock_is_taken_as_it_is(start: Start) -> None:
    machine = Machine()
    async with start(clock=machine) as kernel:
        await looked(kernel)
    machine = Machine(BEFORE + HOUR, SECOND, "the second")
    async with start(clock=machine) as kernel:
        assert (kernel.clock.step, kernel.clock.now()) == (timedelta(), BEFORE + HOUR)


async def test_a_replica_on_the_machine_learns_what_was_confirmed(start: Start, tmp_path: Path) -> None:
    machine = Machine()
    async with start(clock=machine) as kernel, start(clock=machine) as other:
        await looked(kernel)
        machine.is_stepped(HOUR)
        async with door(kernel, tmp_path) as server, server.open() as operator:
            request = told(pb.ConfirmClockRequest)
            request.occurred_at.FromDatetime(BEFORE)
            await operator.confirm_clock(request)
        await until(lambda: other.clock.now() == BEFORE + HOUR)


async def test_recorded_at_never_goes_back(start: Start, tmp_path: Path) -> None:
    machine, case = Machine(), new_case()
    async with start(clock=machine) as kernel, door(kernel, tmp_path) as server, server.open() as operator:
        await execute(kernel, step(case))
        machine.is_stepped(-HOUR)
        await execute(kernel, step(case))
        request = told(pb.ConfirmClockRequest)
        request.occurred_at.FromDatetime(machine.moment)
        await operator.confirm_clock(request)
        assert kernel.clock.now() == BEFORE - HOUR
        await execute(kernel, step(case))
        statement = select(tables.journal.c.recorded_at, tables.journal.c.taken_at)
        times = [tuple(row) for row in await kernel.read(lambda connection: connection.execute(statement).all())]
        assert len(set(times)) == 1
    async with start(clock=machine) as kernel:
        await execute(kernel, step(case))
        assert [row.taken_at for row in await rows(kernel)] == sorted(row.taken_at for row in await rows(kernel))


async def test_only_a_simulations_clock_can_be_advanced(start: Start, tmp_path: Path) -> None:
    async with start() as kernel, door(kernel, tmp_path) as server, server.open() as operator:
        request = told(pb.AdvanceClockRequest)
        request.by.FromTimedelta(HOUR)
        with pytest.raises(Refused, match="CLOCK_NOT_STEPPED"):
            await operator.advance_clock(request)
        (act,) = (await operator.list_operator_acts(pb.ListOperatorActsRequest())).acts
        assert act.refusal.startswith("CLOCK_NOT_STEPPED")
        assert not (await operator.get_bridge_status(pb.GetBridgeStatusRequest())).clock.stepped


async def test_time_passes_in_a_simulation_and_stays_where_it_is(start: Start, tmp_path: Path) -> None:
    machine, case = Machine(), new_case()
    async with start(clock=machine, stepped=True) as kernel, door(kernel, tmp_path) as server:
        await execute(kernel, timed(case, BEFORE + HOUR))
        async with server.open() as operator:
            request = told(pb.AdvanceClockRequest)
            request.occurred_at.FromDatetime(BEFORE)
            request.by.FromTimedelta(2 * HOUR)
            done = await operator.advance_clock(request)
            assert await operator.advance_clock(request) == done
            assert done.advanced.ToTimedelta() == 2 * HOUR
            await closed(kernel)
            clock = (await operator.get_bridge_status(pb.GetBridgeStatusRequest())).clock
            assert (clock.stepped, clock.advanced.ToTimedelta(), clock.HasField("step")) == (True, 2 * HOUR, False)
    async with start(clock=machine, stepped=True) as kernel:
        assert kernel.clock.now() == BEFORE + 2 * HOUR
    with pytest.raises(ClockAdvanced):
        async with start(clock=machine):
            pass
