"""What a plain caller may be answered while something is broken."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from itertools import chain, count, repeat
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata

from faults.checker.collect import REQUESTS
from faults.checker.logs import requests
from faults.checker.marks import mark_of
from faults.injections import probes
from faults.injections.probes import Applicant, Probe, probed, slower
from faults.injections.stage import NotInjected, Stage
from faults.load.caller import Caller
from faults.load.case import Case
from faults.load.cast import DESKS, SHOPS, Told
from faults.load.durable import DurableLog
from faults.load.load import EXTRA
from ronghe.catalog.v1.catalog_pb2 import ServiceItem
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest, SubmitApplicationResponse


def test_a_caller_that_is_left_hanging_names_the_subsystem() -> None:
    probe = Probe("department", codes=Counter({StatusCode.NOT_FOUND: 9, StatusCode.DEADLINE_EXCEEDED: 1}))
    with pytest.raises(NotInjected, match="department"):
        probe.check(goes_on=True)


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED])
def test_a_caller_may_be_told_and_must_be_where_it_cannot_go_on(code: StatusCode) -> None:
    Probe("intake", codes=Counter({code: 1, StatusCode.NOT_FOUND: 1})).check(goes_on=False)
    with pytest.raises(NotInjected, match="noticed"):
        Probe("intake", codes=Counter({StatusCode.NOT_FOUND: 1})).check(goes_on=False)


def test_a_write_that_finds_nothing_to_write_to_is_no_right_answer() -> None:
    Probe("department", StatusCode.OK, Counter({StatusCode.OK: 9})).check(goes_on=True)
    with pytest.raises(NotInjected, match=r"callers of department got .*NOT_FOUND"):
        Probe("department", StatusCode.OK, Counter({StatusCode.OK: 9, StatusCode.NOT_FOUND: 1})).check(goes_on=True)


def probe(where: str, *seconds: float) -> Probe:
    return Probe(where, seconds=list(seconds))


def test_what_is_slow_is_so_for_somebody() -> None:
    before = [probe("intake", 0.01, 0.02, 0.03), probe("department", 0.01)]
    meanwhile = [probe("intake", 0.05, 0.13, 9.0), probe("department", 0.01)]
    assert slower(before, meanwhile, times=2.0, least=0.1) == {"intake": 0.13, "department": 0.01}


@pytest.mark.parametrize(("was", "is_now"), [(0.01, 0.08), (0.15, 0.26)])
def test_what_is_no_slower_than_a_machine_is_by_itself_was_not_slow(was: float, is_now: float) -> None:
    """Eight times as much is little where it was next to nothing; on a crowded machine 100 ms more are."""
    with pytest.raises(NotInjected, match="nothing was slow: intake"):
        slower([probe("intake", was)], [probe("intake", is_now)], times=2.0, least=0.1)


@asynccontextmanager
async def no_channel(*_: object) -> AsyncIterator[None]:
    yield


def answering(codes: Iterator[StatusCode]) -> Any:
    """Each call with the next code."""

    async def call(*_: object) -> SubmitApplicationResponse:
        code = next(codes)
        if code is StatusCode.OK:
            return SubmitApplicationResponse()
        raise AioRpcError(code, Metadata(), Metadata())

    return call


class Load:
    """One case that its lead knows of, and those that were begun since."""

    def __init__(self, log: DurableLog) -> None:
        there: Any = SimpleNamespace(case_id="c", desk=SHOPS)
        self.played, self.extra, self.begun = [there], count(EXTRA), list[Case]()
        told = defaultdict(Told)
        told["c"].say(str(SHOPS.organ), "Submitted")
        items = {desk.item: ServiceItem(code=desk.item) for desk in DESKS}
        self.cast = SimpleNamespace(caller=Caller(log, Random(1)), told=told, items=items)

    def begin(self, case: Case, _: object) -> None:
        self.begun.append(case)


class Writes:
    """What the two that write are answered."""

    def __init__(self) -> None:
        self.intake, self.department = repeat(StatusCode.OK), repeat(StatusCode.OK)


@pytest.fixture
def writes() -> Writes:
    return Writes()


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, writes: Writes) -> AsyncIterator[Stage]:
    missing = answering(repeat(StatusCode.NOT_FOUND))
    monkeypatch.setattr(probes, "_channel", no_channel)
    monkeypatch.setattr(probes, "_read", lambda _, case_id="": answering(writes.department) if case_id else missing)
    monkeypatch.setattr(probes, "_submit", lambda _: answering(writes.intake))
    monkeypatch.setattr(probes, "PAUSE_SECONDS", 0.01)
    with DurableLog(tmp_path / REQUESTS) as log:
        yield cast("Stage", SimpleNamespace(figures={}, load=Load(log), chance=Random(1)))


BROKEN = StatusCode.UNAVAILABLE


@pytest.mark.parametrize("last", ["intake", "department"])
async def test_what_is_broken_stays_so_until_who_writes_was_told(stage: Stage, writes: Writes, last: str) -> None:
    writes.intake = writes.department = repeat(BROKEN)
    setattr(writes, last, chain([StatusCode.OK] * 20, repeat(BROKEN)))
    async with probed(stage, reads=False):
        pass  # what was broken would be mended now


@pytest.mark.parametrize("quiet", ["intake", "department"])
async def test_where_no_caller_is_told_nothing_was_broken(
    stage: Stage, writes: Writes, quiet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "LONGER_SECONDS", 0.2)
    writes.intake = writes.department = repeat(BROKEN)
    setattr(writes, quiet, repeat(StatusCode.OK))
    with pytest.raises(NotInjected, match=f"no caller of {quiet} noticed"):
        async with probed(stage, reads=False):
            pass
    (other,) = {"intake", "department"} - {quiet}
    async with probed(stage, reads=False, writes=(other,)):
        pass


async def test_a_call_that_hangs_when_it_is_over_is_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(_: object) -> None:
        await asyncio.sleep(0.2)
        raise AioRpcError(StatusCode.DEADLINE_EXCEEDED, Metadata(), Metadata())

    monkeypatch.setattr(probes, "_submit", lambda _: hangs)
    with pytest.raises(NotInjected, match=r"callers of intake got .*DEADLINE_EXCEEDED"):
        async with probed(stage, reads=False, writes=()):
            await asyncio.sleep(0.1)
    assert stage.figures["slowest answer during an outage"] >= 0.2


async def test_a_probe_that_fails_by_itself_does_not_pass_for_a_quiet_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: object) -> None:
        raise ValueError("no such field")

    monkeypatch.setattr(probes, "_submit", lambda _: fails)
    with pytest.raises(ValueError, match="no such field"):
        async with probed(stage, reads=False, writes=()):
            await asyncio.sleep(0.1)


async def test_an_application_is_handed_in_until_it_is_taken_in_and_is_known_before_it_is_sent(
    stage: Stage, tmp_path: Path
) -> None:
    known, codes = list[Sequence[str]](), answering(chain([BROKEN] * 2, repeat(StatusCode.OK)))

    async def submit(request: SubmitApplicationRequest) -> SubmitApplicationResponse:
        known.append([each.mark for each in requests([tmp_path / REQUESTS])])
        assert known[-1][-1] == mark_of(request.request_id)
        return cast("SubmitApplicationResponse", await codes(request))

    applicant = Applicant(stage, submit)
    for refused in (True, True, False):
        with pytest.raises(AioRpcError) if refused else nullcontext():
            await applicant.apply()
    assert len(known) == 3
    assert len(set(map(tuple, known))) == 1  # the same one, three times
    (case,) = cast("Any", stage.load).begun
    (noted,) = requests([tmp_path / REQUESTS])
    assert noted.answers
    assert noted.mark == mark_of(case.request.request_id)


async def test_what_was_sent_without_an_answer_goes_on_as_a_case_of_the_loads(stage: Stage) -> None:
    applicant = Applicant(stage, answering(repeat(BROKEN)))
    with pytest.raises(AioRpcError):
        await applicant.apply()
    load = cast("Any", stage.load)
    assert not load.begun
    applicant.leave()
    applicant.leave()
    (case,) = load.begun
    assert case.request.request_id
