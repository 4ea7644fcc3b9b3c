"""Replicas of two versions on one database: what the later one does survives the earlier one."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from bridge.record import Record
from ronghe.event.v1 import event_pb2 as event
from servers.kernel import tables
from servers.kernel.late import LateFacts, Meet
from tests.kernel.conftest import Start
from tests.kernel.dead_letters_test import CORRECTION, correction, hidden, message
from tests.kernel.drive import absorb, execute, new_case, rows, step
from tests.kernel.toy import Counter


@contextmanager
def later_version(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It knows what to do about a correction."""
    evolve = Counter.evolve

    def evolve_more(self: Counter, state: Any, record: Record, version: int) -> None:
        evolve(self, state, record, version)
        if isinstance(record.fact, event.CorrectionRequested):
            state.case.open_notice = "noted"

    with monkeypatch.context() as patched:
        patched.setattr(Counter, "fold_version", 2)
        patched.setattr(Counter, "evolve", evolve_more)
        yield


async def test_what_a_later_version_took_in_counts_and_lasts_when_an_earlier_one_goes_on(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = new_case()
    async with start() as kernel:
        with later_version(monkeypatch):
            await absorb(kernel, correction(case))
            assert (await execute(kernel, step(case))).version == 2
        with monkeypatch.context() as earlier:
            hidden(earlier, CORRECTION)
            assert (await execute(kernel, step(case))).version == 3
        (row,) = await rows(kernel, Counter.table)
        assert Counter.state.FromString(row.snapshot).case.open_notice == "noted"
        with later_version(monkeypatch):
            assert (await execute(kernel, step(case))).version == 4
        (row,) = await rows(kernel, Counter.table)
        assert (row.version, row.taken, row.fold_version) == (4, 3, 2)
        assert Counter.state.FromString(row.snapshot).case.open_notice == "noted"


async def test_a_start_does_not_wait_for_what_an_earlier_version_goes_on_adding(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start() as kernel:

        async def taken_in_raw() -> None:
            with monkeypatch.context() as earlier:
                hidden(earlier, CORRECTION)
                await kernel.absorb([message(correction(new_case()), 0)], [])

        meet = kernel.meet

        async def meet_beside_an_earlier_version(units: Sequence[Meet]) -> None:
            await meet(units)
            await taken_in_raw()

        await taken_in_raw()
        monkeypatch.setattr(kernel, "meet", meet_beside_an_earlier_version)
        await asyncio.wait_for(LateFacts(kernel).meet_all(), 20)
        first, second = await rows(kernel, tables.raw_fact)
        assert first.tried_at
        assert not second.tried_at
