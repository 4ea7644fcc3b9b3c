"""The caller of a campaign: what it does about answers that come of what was broken."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from grpc import StatusCode

from clients.errors import InvalidRequest, RongheError
from clients.identity import Identity
from faults.checker import logs
from faults.injections.clock import nobody_refused
from faults.injections.stage import NotInjected
from faults.load.caller import OPEN_CALLS, Caller
from faults.load.durable import DurableLog
from ronghe.department.v1 import department_service_pb2 as pb

ORGAN = Identity("organ", "fire-440306")


async def test_a_request_that_days_overtook_is_made_anew(tmp_path: Path) -> None:
    with DurableLog(tmp_path / "log") as log:
        caller = Caller(log, Random(1), copied=0.0)
        days = timedelta(days=2)
        seen: list[pb.CloseCaseRequest] = []

        async def close_case(request: pb.CloseCaseRequest) -> pb.CloseCaseResponse:
            seen.append(request)
            if len(seen) == 1:
                with caller.clocks_change():  # while the request was on its way
                    caller.ahead = days
                raise refused()
            return pb.CloseCaseResponse()

        await caller.perform(ORGAN, close_case, pb.CloseCaseRequest(case_id="c"))
    first, second = seen
    assert second.request_id != first.request_id
    assert second.occurred_at.ToDatetime() >= first.occurred_at.ToDatetime() + days
    assert not caller.refused_for_time


@pytest.mark.parametrize("days", [timedelta(), timedelta(days=2)])
async def test_a_time_that_no_days_explain_is_refused_for_good_and_counted(tmp_path: Path, days: timedelta) -> None:
    with DurableLog(tmp_path / "log") as log:
        caller = Caller(log, Random(1), copied=0.0)
        with caller.clocks_change():  # before the request was made
            caller.ahead = days

        async def close_case(request: pb.CloseCaseRequest) -> pb.CloseCaseResponse:
            raise refused()

        with pytest.raises(InvalidRequest):
            await caller.perform(ORGAN, close_case, pb.CloseCaseRequest(case_id="c"))
    assert caller.refused_for_time == 1


async def test_a_fault_in_which_an_honest_caller_is_refused_for_his_time_is_not_survived() -> None:
    caller = SimpleNamespace(refused_for_time=3)  # by an earlier fault
    stage: Any = SimpleNamespace(load=SimpleNamespace(cast=SimpleNamespace(caller=caller)))

    @nobody_refused
    async def refuses(_: object) -> None:
        caller.refused_for_time += 2

    @nobody_refused
    async def refuses_nobody(_: object) -> None:
        pass

    await refuses_nobody(stage)
    with pytest.raises(NotInjected, match="2 honest"):
        await refuses(stage)


async def test_a_party_has_so_many_calls_under_way_and_no_more(tmp_path: Path) -> None:
    client, free = Client(), asyncio.Event()
    client.free = free
    with DurableLog(tmp_path / "log") as log:
        caller = Caller(log, Random(1), copied=0.0)
        requests = [pb.CloseCaseRequest(case_id=str(number)) for number in range(2 * OPEN_CALLS)]
        performed = asyncio.gather(*(caller.perform(ORGAN, client.close_case, request) for request in requests))
        async with asyncio.timeout(30):
            while len(caller.recent) < len(requests) or client.under_way < OPEN_CALLS:  # noqa: ASYNC110 - they are written
                await asyncio.sleep(0.01)
        free.set()
        await performed

    assert client.most == OPEN_CALLS


class Client:
    """Answers nobody before it is free to."""

    free: asyncio.Event
    under_way = most = 0

    async def close_case(self, request: pb.CloseCaseRequest) -> pb.CloseCaseResponse:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.free.wait()
        self.under_way -= 1
        return pb.CloseCaseResponse()


def refused() -> RongheError:
    return InvalidRequest("OCCURRED_AT_OUT_OF_RANGE", "check the clock", StatusCode.INVALID_ARGUMENT)


async def test_an_answer_to_what_was_sent_again_is_told_from_the_first(tmp_path: Path) -> None:
    with DurableLog(tmp_path / "log") as log:
        caller = Caller(log, Random(1), copied=0.0)

        async def close_case(request: pb.CloseCaseRequest) -> pb.CloseCaseResponse:
            return pb.CloseCaseResponse()

        for case_id in ("first", "second"):
            since = time.monotonic()
            await caller.perform(ORGAN, close_case, pb.CloseCaseRequest(case_id=case_id))
        assert await caller.again(since) == 1

    found = logs.requests([tmp_path / "log"])
    assert [(len(request.answers), request.again) for request in found] == [(1, False), (2, True)]
