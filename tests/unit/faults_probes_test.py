"""What a plain caller may be answered while something is broken."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import chain, repeat
from types import SimpleNamespace
from typing import cast

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata

from faults.injections import probes
from faults.injections.probes import Call, Probe, probed
from faults.injections.stage import NotInjected, Stage


def test_a_caller_that_is_left_hanging_names_the_subsystem() -> None:
    probe = Probe("department", Counter({StatusCode.NOT_FOUND: 9, StatusCode.DEADLINE_EXCEEDED: 1}))
    with pytest.raises(NotInjected, match="department"):
        probe.check(goes_on=True)


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED])
def test_a_caller_may_be_told_and_must_be_where_it_cannot_go_on(code: StatusCode) -> None:
    Probe("intake", Counter({code: 1, StatusCode.NOT_FOUND: 1})).check(goes_on=False)
    with pytest.raises(NotInjected, match="noticed"):
        Probe("intake", Counter({StatusCode.NOT_FOUND: 1})).check(goes_on=False)


@asynccontextmanager
async def no_channel(*_: object) -> AsyncIterator[None]:
    yield


def answering(codes: Iterator[StatusCode]) -> Call:
    """Each call with the next code."""

    async def call() -> None:
        raise AioRpcError(next(codes), Metadata(), Metadata())

    return call


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(probes, "_channel", no_channel)
    monkeypatch.setattr(probes, "_read", lambda _: answering(repeat(StatusCode.NOT_FOUND)))
    monkeypatch.setattr(probes, "PAUSE_SECONDS", 0.01)
    return cast("Stage", SimpleNamespace(figures={}))


async def test_what_is_broken_stays_so_until_a_caller_was_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = [StatusCode.NOT_FOUND] * 20
    codes = chain(quiet, repeat(StatusCode.UNAVAILABLE))
    monkeypatch.setattr(probes, "_write", lambda _: answering(codes))
    async with probed(stage, reads=False):
        pass  # what was broken would be mended now


async def test_where_no_caller_is_told_nothing_was_broken(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "LONGER_SECONDS", 0.2)
    monkeypatch.setattr(probes, "_write", lambda _: answering(repeat(StatusCode.NOT_FOUND)))
    with pytest.raises(NotInjected, match="no caller of intake noticed"):
        async with probed(stage, reads=False):
            pass
