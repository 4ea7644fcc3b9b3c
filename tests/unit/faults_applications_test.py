"""What intake must do while something is broken elsewhere."""

import asyncio
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from faults.injections import kafka
from faults.injections.kafka import amid_applications
from faults.injections.stage import NotInjected
from faults.load.case import Case


class Load:
    """Takes applications in, until it does not any more."""

    cast: Any = None

    def __init__(self, taken_in: int) -> None:
        self.extra = count()
        self._taken_in = taken_in
        self.offered = 0

    def begin(self, case: Case, _: object) -> None:
        self.offered += 1
        if self.offered <= self._taken_in:
            case.case_id = "a case"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "ACCEPT_PAUSE", 0.01)
    monkeypatch.setattr(kafka, "ACCEPT_SECONDS", 0.1)


async def test_applications_are_taken_in_until_the_fault_is_over() -> None:
    load = Load(taken_in=1000)
    await amid_applications(lambda _: asyncio.sleep(0.3))(stage_of(load))
    assert 1 < load.offered < 100


async def test_a_fault_during_which_one_is_not_taken_in_is_brought_to_its_end_and_not_survived() -> None:
    over = []

    async def breaks(_: object) -> None:
        await asyncio.sleep(0.3)
        over.append(True)

    with pytest.raises(NotInjected, match="intake"):
        await amid_applications(breaks)(stage_of(Load(taken_in=1)))
    assert over


def stage_of(load: Load) -> Any:
    return SimpleNamespace(load=load, chance=Random(1))
