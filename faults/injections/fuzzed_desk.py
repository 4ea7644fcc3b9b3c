"""An organ, and a terminal, that send commands which are right but for one place: they reach the rules, and some are
accepted.

So they are written down like all others, and the checker judges what came of them.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import uuid_utils
from google.protobuf.message import Message
from grpc import StatusCode

from clients.department import DepartmentClient
from clients.errors import RongheError
from clients.identity import Identity
from faults.fuzzing.messages import Hostile, wrapped
from faults.injections.backlog import unacknowledged
from faults.injections.stage import NotInjected, Stage
from faults.load.applications import Desk
from faults.load.caller import Caller, marked
from faults.load.case import Case
from faults.load.cast import TERMINAL
from faults.load.load import Load
from faults.load.parties import Receiver
from ronghe.case.v1.case_pb2 import Case as View
from ronghe.case.v1.case_service_pb2 import GetCaseRequest
from ronghe.department.v1 import department_service_pb2 as pb
from ronghe.intake.v1 import intake_service_pb2 as intake

DESK = Desk("IT-003", "500107", "urban-mgmt-500107")
"""An organ that has no part in the load."""
BY_THE_LEAD = (
    pb.AcceptApplicationRequest,
    pb.RefuseAcceptanceRequest,
    pb.RequestCorrectionRequest,
    pb.RecordStepRequest,
    pb.DecideApplicationRequest,
    pb.CloseCaseRequest,
)
"""It asks nobody: those would have to answer."""
BY_THE_APPLICANT = (intake.SupplementApplicationRequest, intake.RequestWithdrawalRequest)
COMMANDS: Mapping[str, Identity] = {
    **{kind.DESCRIPTOR.full_name: DESK.organ for kind in BY_THE_LEAD},
    **{kind.DESCRIPTOR.full_name: TERMINAL for kind in BY_THE_APPLICANT},
}
"""What is sent, and who sends it."""
KEPT = ("request_id", "actor", "occurred_at")
"""Never spoiled: by these it is known what a request has led to, and it gets past the first checks."""
AGO_SECONDS = 3.0
EVERY_SECONDS, OPEN_SECONDS = 2.0, 15.0
"""A case of its own is begun that often, and commands about it are sent for so long."""
CALL_SECONDS = 20.0
"""No call lasts longer."""
QUIET_SECONDS = CALL_SECONDS + 5.0
"""After which nothing is on its way any more."""
END_SECONDS = 120.0
"""Within which its cases end."""
FOR_GOOD = (
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.ABORTED,
)
"""Such a request has no effect; of one refused otherwise an earlier attempt by the library may have had one."""


@dataclass
class FuzzedDesk:
    """Its cases, and what it has sent."""

    caller: Caller
    client: DepartmentClient
    chance: Random
    hostile: Hostile
    cases: list[asyncio.Task[None]] = field(default_factory=list)
    _open: list[Case] = field(default_factory=list)
    _sent: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Request id -> what its answer is noted under; those that wait for one."""
    taken: int = 0
    """Commands that were accepted: the others came as near to it."""

    async def command(self, kinds: Mapping[str, Sequence[int]]) -> tuple[str, bytes] | None:
        """A request of one of these kinds by its id, and the body that carries it; None where none can be made yet.

        `kinds`: as `faults.fuzzing.contract.carried` gives them.
        """
        right = [each for each in self.caller.recent if each.DESCRIPTOR.full_name in COMMANDS.keys() & kinds.keys()]
        if not right or not self._open:
            return None
        chosen = self.chance.choice(right)
        # A withdrawal ends a case: it is said of the one that is to be left next.
        ends = isinstance(chosen, intake.RequestWithdrawalRequest)
        request = await self._about(self._open[0] if ends else self.chance.choice(self._open), chosen)
        kind, sender = request.DESCRIPTOR, COMMANDS[request.DESCRIPTOR.full_name]
        # The terminal has all cases of the load: its commands are about no other than meant.
        kept = (*KEPT, "case_id") if sender == TERMINAL else KEPT
        body = self.hostile.spoiled_once(request.SerializeToString(), kind, kept)
        self._sent[request.request_id] = await self.caller.note(sender, request, body)
        return request.request_id, wrapped(body, kinds[kind.full_name])

    async def _about(self, case: Case, right: Message) -> Any:
        """The same about a case of its own, said some seconds ago."""
        request: Any = type(right)()
        request.CopyFrom(right)
        request.request_id, request.case_id = str(uuid_utils.uuid7()), case.case_id
        ago = timedelta(seconds=self.chance.uniform(0, AGO_SECONDS))
        request.occurred_at.FromDatetime(datetime.now(UTC) + self.caller.ahead - ago)
        if getattr(request, "if_version", 0):
            request.if_version = (await self._read(case)).version
        if isinstance(request, intake.SupplementApplicationRequest):
            request.notice_number = (await self._read(case)).open_notice or request.notice_number
        return marked(request)

    async def _read(self, case: Case) -> View:
        read = GetCaseRequest(case_id=case.case_id)
        return (await self.caller.repeated(self.client.cases.get_case, read)).case

    async def accepted(self, request_id: str, answer: Message) -> bool:
        """Note an answer; False where it is none to this desk."""
        key = self._sent.pop(request_id, None)
        if key is None:
            return False
        await self.caller.note_answer(key, answer)
        self.taken += 1
        return True

    async def refused(self, request_id: str, error: RongheError) -> None:
        """Note a refusal, where it is one to this desk."""
        key = self._sent.pop(request_id, None)
        if key is not None and error.code in FOR_GOOD:
            await self.caller.note_refusal(key, error.reason)

    async def begin_cases(self, load: Load) -> None:
        """One after another, until cancelled."""
        everybody = replace(load.cast, organs={**load.cast.organs, DESK.lead: self.client})
        while True:
            self.cases.append(load.begin(Case(next(load.extra), DESK, everybody), self.fuzzed))
            await asyncio.sleep(EVERY_SECONDS)

    async def fuzzed(self, case: Case) -> None:
        """Open to whatever is sent for a while, then brought to an end from wherever it has come to."""
        self._open.append(case)
        await asyncio.sleep(OPEN_SECONDS)
        self._open.remove(case)
        await asyncio.sleep(QUIET_SECONDS)
        if await case.withdraw_if_open():
            await case.lead_is_told("Withdrawn", "WithdrawalDeclined")
        await case.close_if_decided()


@asynccontextmanager
async def fuzzed_desk(stage: Stage, chance: Random, hostile: Hostile) -> AsyncIterator[FuzzedDesk]:
    """It has cases in this block, and its inbox is read; afterwards all of them have ended. Raises NotInjected."""
    load, pki = stage.load, stage.mesh.data / "pki"
    async with DepartmentClient(stage.network["department"].address, pki, DESK.organ) as client:
        desk = FuzzedDesk(load.cast.caller, client, chance, hostile)
        honest = Receiver("department", DESK.organ, client, load.given, load.told)
        working = [asyncio.create_task(honest.run()), asyncio.create_task(desk.begin_cases(load))]
        try:
            yield desk
            working[1].cancel()
            await _ended(stage, desk)
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)


async def _ended(stage: Stage, desk: FuzzedDesk) -> None:
    try:
        async with asyncio.timeout(END_SECONDS):
            await asyncio.gather(*desk.cases)
            while unacknowledged(stage, DESK.organ):  # noqa: ASYNC110 - it is looked at from outside
                await asyncio.sleep(EVERY_SECONDS)
    except TimeoutError as error:
        raise NotInjected("cases that were fuzzed do not end afterwards") from error
