"""A plain caller who asks again and again while something is broken: what he is answered, and how soon."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
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
from faults.load.caller import marked
from faults.load.case import Case
from faults.load.cast import DESKS, TERMINAL
from faults.load.courses import granted
from faults.mesh import SUBSYSTEMS
from ronghe.case.v1.case_service_pb2 import GetCaseRequest
from ronghe.case.v1.case_service_pb2_grpc import CaseServiceStub
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationResponse
from ronghe.intake.v1.intake_service_pb2_grpc import IntakeServiceStub

DEADLINE_SECONDS = 5.0
PAUSE_SECONDS = 0.3
LONGER_SECONDS = 60.0
"""So much longer it lasts where nobody was told: a journal may have room of its own, however full its disk is."""
WRITERS = ("intake", "department")
"""Who is asked to write."""
SAYS_SO = (StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED)

Call = Callable[[], Awaitable[object]]


@dataclass
class Probe:
    """Answers by their code."""

    where: str
    """The subsystem that is asked."""
    whole: StatusCode = StatusCode.NOT_FOUND
    """The right answer: there is no such case, or it is done."""
    codes: Counter[StatusCode] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """Until each answer."""

    async def ask(self, call: Call, over: asyncio.Event) -> None:
        """Time after time until then; the last answer is waited for as well."""
        while not over.is_set():
            started = time.monotonic()
            try:
                await call()
                self.codes[StatusCode.OK] += 1
            except grpc.aio.AioRpcError as error:
                self.codes[error.code()] += 1
            self.seconds.append(time.monotonic() - started)
            await asyncio.sleep(PAUSE_SECONDS)

    @property
    def was_told(self) -> bool:
        """Whether a caller learned that something is broken."""
        return any(self.codes[code] for code in SAYS_SO)

    def check(self, *, goes_on: bool) -> None:
        """Raises NotInjected unless callers were told in time, and nothing else but that or the truth."""
        others = {code.name: count for code, count in self.codes.items() if code not in (*SAYS_SO, self.whole)}
        if others:
            raise NotInjected(f"callers of {self.where} got {others}")
        if not goes_on and not self.was_told:
            raise NotInjected(f"no caller of {self.where} noticed anything")


@asynccontextmanager
async def probed(
    stage: Stage, *, reads: bool = True, writes: Collection[str] = WRITERS
) -> AsyncIterator[Sequence[Probe]]:
    """While the block lasts intake and the departments are asked to write, and all to read, by calls nobody repeats.

    It lasts until those who must be told were.
    Where `reads` is set intake's reads must not go on, nor the writes of those whom `writes` names; of the others only
    that they are answered in time is looked at. Gives those who write.
    """
    reading = Probe("intake")
    writing = [Probe(name, StatusCode.OK) for name in WRITERS]
    elsewhere = [Probe(name) for name in SUBSYSTEMS if name != "intake"]
    async with AsyncExitStack() as stack:
        intake = await stack.enter_async_context(_channel(stage, "intake", TERMINAL))
        applicant, case = Applicant(stage, _submit(intake)), _led(stage)
        stack.callback(applicant.leave)
        lead = await stack.enter_async_context(_channel(stage, "department", case.desk.organ))
        asked = [(reading, _read(intake)), (writing[0], applicant.apply), (writing[1], _read(lead, case.case_id))]
        for probe in elsewhere:
            channel = await stack.enter_async_context(_channel(stage, probe.where, OPERATOR))
            asked.append((probe, _read(channel)))
        over = asyncio.Event()
        asking = [asyncio.create_task(probe.ask(call, over)) for probe, call in asked]
        try:
            yield writing
            told = [probe for probe in writing if probe.where in writes] + ([reading] if reads else [])
            with suppress(NotInjected):  # which is for the checks to say
                await until(lambda: all(probe.was_told for probe in told), LONGER_SECONDS, "nobody was told")
        finally:
            over.set()
            failures = await asyncio.gather(*asking, return_exceptions=True)
    for failure in failures:
        if failure is not None:
            raise failure
    _note(stage.figures, reading, *writing, *elsewhere)
    reading.check(goes_on=not reads)
    for probe in writing:
        probe.check(goes_on=probe.where not in writes)
    for probe in elsewhere:
        probe.check(goes_on=True)


def slower(before: Sequence[Probe], meanwhile: Sequence[Probe], *, times: float, least: float) -> Mapping[str, float]:
    """Median seconds of each subsystem's answers meanwhile.

    Raises NotInjected unless those of one are so many times what they were, and so many seconds more.
    """
    were = {probe.where: statistics.median(probe.seconds) for probe in before}
    are = {probe.where: statistics.median(probe.seconds) for probe in meanwhile}
    if not any(median >= max(times * were[where], were[where] + least) for where, median in are.items()):
        said = ", ".join(f"{where} {1000 * were[where]:.0f} ms before, {1000 * are[where]:.0f} ms" for where in are)
        raise NotInjected(f"nothing was slow: {said}")
    return are


@dataclass
class Applicant:
    """Hands an application in until it is taken in, then the next one; each is a case of the load's afterwards."""

    stage: Stage
    submit: Callable[[Any], Awaitable[SubmitApplicationResponse]]
    _case: Case | None = None
    _key: Mapping[str, str] = field(default_factory=dict)

    async def apply(self) -> None:
        """Once; it is written down before it is sent, as is its answer."""
        caller = self.stage.load.cast.caller
        if self._case is None:
            case = Case(next(self.stage.load.extra), self.stage.chance.choice(DESKS), self.stage.load.cast)
            case.request = marked(completed(case.application()))
            self._key = await caller.note(TERMINAL, case.request)
            self._case = case
        await caller.note_answer(self._key, await self.submit(self._case.request))
        self.leave()

    def leave(self) -> None:
        """What was sent goes on as the load's, which hands it in again by the same id: an answer may have been lost."""
        if self._case is not None:
            self.stage.load.begin(self._case, granted)
            self._case = None


def _note(figures: dict[str, float], *probes: Probe) -> None:
    slowest = max(seconds for probe in probes for seconds in probe.seconds)
    figures["slowest answer during an outage"] = max(slowest, figures.get("slowest answer during an outage", 0.0))


def _led(stage: Stage) -> Case:
    """A case that its lead knows of. Raises NotInjected."""
    told = stage.load.cast.told
    for case in stage.load.played:
        if case.case_id and (str(case.desk.organ), "Submitted", "") in told[case.case_id].facts:
            return case
    raise NotInjected("no organ has a case yet")


def _read(channel: grpc.aio.Channel, case_id: str = "") -> Call:
    """For a case that there is not, or for this one.

    The organ that has a case is shown whose it is, and the department has written down that it was before it answers.
    """
    stub: Any = CaseServiceStub(channel)
    return lambda: stub.GetCase(GetCaseRequest(case_id=case_id or str(uuid4())), timeout=DEADLINE_SECONDS)


def _submit(channel: grpc.aio.Channel) -> Callable[[Any], Awaitable[SubmitApplicationResponse]]:
    stub: Any = IntakeServiceStub(channel)
    return lambda request: stub.SubmitApplication(request, timeout=DEADLINE_SECONDS)


def _channel(stage: Stage, subsystem: str, party: Identity) -> grpc.aio.Channel:
    """Nothing is sent twice."""
    credentials = Credentials.load(stage.mesh.data / "pki", party)
    tls = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)
    options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.enable_retries", 0)]
    return grpc.aio.secure_channel(stage.mesh.addresses[subsystem], tls, options=options)
