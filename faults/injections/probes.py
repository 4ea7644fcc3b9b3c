"""A plain caller who asks again and again while something is broken: what he is answered, and how soon."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc
from grpc import StatusCode

from clients.base import completed
from clients.channel import SERVER_NAME
from clients.credentials import Credentials
from faults.injections.stage import NotInjected, Stage
from faults.load.cast import TERMINAL
from ronghe.case.v1.case_service_pb2 import GetCaseRequest
from ronghe.case.v1.case_service_pb2_grpc import CaseServiceStub
from ronghe.intake.v1.intake_service_pb2 import RequestWithdrawalRequest
from ronghe.intake.v1.intake_service_pb2_grpc import IntakeServiceStub

DEADLINE_SECONDS = 5.0
PAUSE_SECONDS = 0.3
SAYS_SO = (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED)
WHOLE = (StatusCode.NOT_FOUND,)
"""There is no such case."""

Call = Callable[[], Awaitable[object]]


@dataclass
class Probe:
    """Answers by their code."""

    codes: Counter[StatusCode] = field(default_factory=Counter)
    slowest: float = 0.0

    async def ask(self, call: Call) -> None:
        """Time after time, until cancelled."""
        while True:
            started = time.monotonic()
            try:
                await call()
                self.codes[StatusCode.OK] += 1
            except grpc.aio.AioRpcError as error:
                self.codes[error.code()] += 1
            self.slowest = max(self.slowest, time.monotonic() - started)
            await asyncio.sleep(PAUSE_SECONDS)

    def check(self, *, reads_go_on: bool) -> None:
        """Raises NotInjected unless callers were told in time, and nothing else but that or the truth."""
        others = {code.name: count for code, count in self.codes.items() if code not in (*SAYS_SO, *WHOLE)}
        if others:
            raise NotInjected(f"callers got {others}")
        if not reads_go_on and not any(self.codes[code] for code in SAYS_SO):
            raise NotInjected("no caller noticed anything")


@asynccontextmanager
async def probed(stage: Stage, *, reads: bool = True) -> AsyncIterator[None]:
    """While the block lasts intake is asked to read and to write, by calls that nobody repeats."""
    reading, writing = Probe(), Probe()
    async with _channel(stage) as channel:
        stub, intake = _stubs(channel)

        def read() -> Awaitable[object]:
            return stub.GetCase(GetCaseRequest(case_id=str(uuid4())), timeout=DEADLINE_SECONDS)  # type: ignore[no-any-return]

        def write() -> Awaitable[object]:
            request = RequestWithdrawalRequest(case_id=str(uuid4()), reason="不再需要")
            request.actor.applicant.level, request.actor.applicant.method = 3, "face"
            return intake.RequestWithdrawal(completed(request), timeout=DEADLINE_SECONDS)  # type: ignore[no-any-return]

        asking = [asyncio.create_task(each.ask(call)) for each, call in ((reading, read), (writing, write))]
        try:
            yield
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
    _note(stage.figures, reading, writing)
    reading.check(reads_go_on=not reads)
    writing.check(reads_go_on=False)


def _note(figures: dict[str, float], *probes: Probe) -> None:
    slowest = max(probe.slowest for probe in probes)
    figures["slowest answer during an outage"] = max(slowest, figures.get("slowest answer during an outage", 0.0))


def _stubs(channel: grpc.aio.Channel) -> tuple[Any, Any]:
    return CaseServiceStub(channel), IntakeServiceStub(channel)


def _channel(stage: Stage) -> grpc.aio.Channel:
    """Nothing is sent twice."""
    credentials = Credentials.load(stage.mesh.data / "pki", TERMINAL)
    tls = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)
    options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.enable_retries", 0)]
    return grpc.aio.secure_channel(stage.mesh.addresses["intake"], tls, options=options)
