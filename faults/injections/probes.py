"""A plain caller who asks again and again while something is broken: what he is answered, and how soon."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc
from grpc import StatusCode

from clients.base import completed
from clients.channel import SERVER_NAME
from clients.credentials import Credentials
from clients.identity import Identity
from faults.injections.days import OPERATOR
from faults.injections.stage import NotInjected, Stage, until
from faults.load.cast import TERMINAL
from faults.mesh import SUBSYSTEMS
from ronghe.case.v1.case_service_pb2 import GetCaseRequest
from ronghe.case.v1.case_service_pb2_grpc import CaseServiceStub
from ronghe.intake.v1.intake_service_pb2 import RequestWithdrawalRequest
from ronghe.intake.v1.intake_service_pb2_grpc import IntakeServiceStub

DEADLINE_SECONDS = 5.0
PAUSE_SECONDS = 0.3
LONGER_SECONDS = 60.0
"""So much longer it lasts where nobody was told: a journal may have room of its own, however full its disk is."""
SAYS_SO = (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED)
WHOLE = (StatusCode.NOT_FOUND,)
"""There is no such case."""

Call = Callable[[], Awaitable[object]]


@dataclass
class Probe:
    """Answers by their code."""

    where: str
    """The subsystem that is asked."""
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

    @property
    def was_told(self) -> bool:
        """Whether a caller learned that something is broken."""
        return any(self.codes[code] for code in SAYS_SO)

    def check(self, *, goes_on: bool) -> None:
        """Raises NotInjected unless callers were told in time, and nothing else but that or the truth."""
        others = {code.name: count for code, count in self.codes.items() if code not in (*SAYS_SO, *WHOLE)}
        if others:
            raise NotInjected(f"callers of {self.where} got {others}")
        if not goes_on and not self.was_told:
            raise NotInjected(f"no caller of {self.where} noticed anything")


@asynccontextmanager
async def probed(stage: Stage, *, reads: bool = True, writes: bool = True) -> AsyncIterator[None]:
    """While the block lasts intake is asked to read and to write, the others to read, by calls that nobody repeats.

    It lasts until those who must be told were.
    Where `reads` is set intake's reads must not go on, where `writes` is set its writes; of the others only that they
    are answered in time is looked at.
    """
    reading, writing = Probe("intake"), Probe("intake")
    elsewhere = [Probe(name) for name in SUBSYSTEMS if name != "intake"]
    async with AsyncExitStack() as stack:
        intake = await stack.enter_async_context(_channel(stage, "intake", TERMINAL))
        asked = [(reading, _read(intake)), (writing, _write(intake))]
        for probe in elsewhere:
            channel = await stack.enter_async_context(_channel(stage, probe.where, OPERATOR))
            asked.append((probe, _read(channel)))
        asking = [asyncio.create_task(probe.ask(call)) for probe, call in asked]
        try:
            yield
            told = [probe for probe, must in ((reading, reads), (writing, writes)) if must]
            with suppress(NotInjected):  # which is for the checks to say
                await until(lambda: all(probe.was_told for probe in told), LONGER_SECONDS, "nobody was told")
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
    _note(stage.figures, reading, writing, *elsewhere)
    reading.check(goes_on=not reads)
    writing.check(goes_on=not writes)
    for probe in elsewhere:
        probe.check(goes_on=True)


def _note(figures: dict[str, float], *probes: Probe) -> None:
    slowest = max(probe.slowest for probe in probes)
    figures["slowest answer during an outage"] = max(slowest, figures.get("slowest answer during an outage", 0.0))


def _read(channel: grpc.aio.Channel) -> Call:
    """For a case that there is not."""
    stub: Any = CaseServiceStub(channel)
    return lambda: stub.GetCase(GetCaseRequest(case_id=str(uuid4())), timeout=DEADLINE_SECONDS)


def _write(channel: grpc.aio.Channel) -> Call:
    """As above."""
    stub: Any = IntakeServiceStub(channel)

    def call() -> Awaitable[object]:
        request = RequestWithdrawalRequest(case_id=str(uuid4()), reason="不再需要")
        request.actor.applicant.level, request.actor.applicant.method = 3, "face"
        return stub.RequestWithdrawal(completed(request), timeout=DEADLINE_SECONDS)  # type: ignore[no-any-return]

    return call


def _channel(stage: Stage, subsystem: str, party: Identity) -> grpc.aio.Channel:
    """Nothing is sent twice."""
    credentials = Credentials.load(stage.mesh.data / "pki", party)
    tls = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)
    options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.enable_retries", 0)]
    return grpc.aio.secure_channel(stage.mesh.addresses[subsystem], tls, options=options)
