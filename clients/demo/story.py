"""One case from its submission to its end, as the terminal, the organ and the intake system live it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from clients.demo.plan import Desk, Ending
from clients.department import DepartmentClient
from clients.errors import RongheError
from clients.intake import IntakeClient
from ronghe.case.v1 import case_pb2
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.event.v1 import event_pb2
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.party.v1.party_pb2 import Officer

OFFICER = Officer(id="D-0001", name="演示经办人")
REMEDIES = "可在六十日内申请行政复议，或者在六个月内提起行政诉讼"
PATIENCE = 45.0


class PlanMissed(Exception):
    """The case did not go as planned; the text says how."""


@dataclass(eq=False)
class Story:
    """What happens to one case. The facts come from the inboxes of the organ and of the intake system."""

    number: int
    desk: Desk
    ending: Ending
    request: intake.SubmitApplicationRequest
    case_id: str = ""
    case_no: str = ""
    organ_facts: "asyncio.Queue[tuple[str, event_pb2.Event]]" = field(default_factory=asyncio.Queue)
    intake_facts: "asyncio.Queue[tuple[str, event_pb2.Event]]" = field(default_factory=asyncio.Queue)
    seen: dict[str, float] = field(default_factory=dict)
    """Seconds after the submission at which intake was told of a fact."""
    told: list[str] = field(default_factory=list)
    submit_seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part."""

    terminal: IntakeClient
    organs: dict[str, DepartmentClient]
    known: Callable[[Story], None]
    """Called as soon as the case has its id."""


class Play:
    """Plays one story. Raises PlanMissed, RongheError, TimeoutError."""

    def __init__(self, story: Story, cast: Cast) -> None:
        self._story = story
        self._terminal = cast.terminal
        self._organ = cast.organs[story.desk.organ.id]
        self._known = cast.known
        self._started = 0.0

    async def run(self) -> None:
        """From submission to end; then the facts must be those of the plan."""
        async with asyncio.timeout(PATIENCE):
            await self._submit()
            await self._told_organ("Submitted")
            await self._act()
            await self._told_all()

    async def _submit(self) -> None:
        self._started = time.monotonic()
        voucher = await self._terminal.submit_application(self._story.request)
        self._story.submit_seconds = time.monotonic() - self._started
        self._story.case_id, self._story.case_no = voucher.case_id, voucher.case_no
        self._known(self._story)

    async def _act(self) -> None:
        match self._story.ending:
            case Ending.GRANTED | Ending.DENIED:
                await self._accept()
                await self._decide(await self._step())
            case Ending.REFUSED:
                await self._refuse()
            case Ending.CORRECTED:
                await self._correct()
                await self._accept()
                await self._decide(await self._step())
            case Ending.PAUSED:
                await self._accept()
                await self._correct()
                await self._decide(await self._step())
            case Ending.WITHDRAWN:
                await self._accept()
                await self._told("Accepted")
                await self._withdraw()
                await self._told_organ("Withdrawn")
            case Ending.WITHDRAWAL_DECLINED:
                await self._accept()
                version = await self._step()
                await self._told("StepRecorded")
                # Each is one hop from where it counts and three from where it would hinder the other.
                await asyncio.gather(self._decide(version, close=False), self._withdraw())
                await self._told_organ("WithdrawalDeclined")
                await self._close()

    # --- the organ ---

    async def _accept(self) -> None:
        request = department.AcceptApplicationRequest(case_id=self._story.case_id, actor=OFFICER)
        request.none.reason = "演示：无需其他部门协同"
        await self._organ.accept_application(request)

    async def _refuse(self) -> None:
        await self._organ.refuse_acceptance(
            department.RefuseAcceptanceRequest(
                case_id=self._story.case_id,
                actor=OFFICER,
                reasons=["申请事项依法不属于本机关职权范围"],
                basis=["行政许可法 第三十二条第一款第二项"],
                competent_body="有权机关",
                remedies=REMEDIES,
            )
        )

    async def _correct(self) -> None:
        defect = department.Defect(
            subject="申请表", defect="未签字", required="补签后的申请表", basis="行政许可法 第三十二条"
        )
        notice = (
            await self._organ.request_correction(
                department.RequestCorrectionRequest(case_id=self._story.case_id, actor=OFFICER, defects=[defect])
            )
        ).notice
        await self._told("CorrectionRequested")
        request = intake.SupplementApplicationRequest(
            case_id=self._story.case_id,
            notice_number=notice.number,
            actor=self._story.request.actor,
            answers=[case_pb2.LineAnswer(line=line.line, text="已补签") for line in notice.lines],
        )
        await self._terminal.supplement_application(request)
        await self._told_organ("SupplementReceived")

    async def _step(self) -> int:
        step = case_pb2.Step(name="审查", result=case_pb2.Step.RESULT_PASSED, opinion="材料齐全，符合法定形式")
        step.started_at.GetCurrentTime()
        step.ended_at.CopyFrom(step.started_at)
        request = department.RecordStepRequest(case_id=self._story.case_id, actor=OFFICER, step=step)
        return (await self._organ.record_step(request)).version

    async def _decide(self, version: int, *, close: bool = True) -> None:
        request = department.DecideApplicationRequest(case_id=self._story.case_id, actor=OFFICER, if_version=version)
        if self._story.ending is Ending.DENIED:
            request.denied.reasons.append("不符合法定条件")
            request.denied.remedies = REMEDIES
        else:
            today = datetime.now().astimezone()
            request.granted.certificate_number = f"DEMO-{today:%Y}-{self._story.number:06}"
            valid_from = request.granted.valid_from
            valid_from.year, valid_from.month, valid_from.day = today.year, today.month, today.day
        await self._organ.decide_application(request)
        if close:
            await self._close()

    async def _close(self) -> None:
        await self._organ.close_case(department.CloseCaseRequest(case_id=self._story.case_id, actor=OFFICER))

    # --- the applicant ---

    async def _withdraw(self) -> None:
        await self._terminal.request_withdrawal(
            intake.RequestWithdrawalRequest(
                case_id=self._story.case_id, actor=self._story.request.actor, reason="演示：不再需要"
            )
        )

    # --- what the parties are told ---

    async def _told_organ(self, wanted: str) -> None:
        while (await self._story.organ_facts.get())[0] != wanted:
            pass

    async def _told(self, wanted: str) -> None:
        while wanted not in self._story.told:
            await self._next_told()

    async def _told_all(self) -> None:
        while len(self._story.told) < len(self._story.ending.value.facts):
            await self._next_told()
        if tuple(self._story.told) != tuple(self._story.ending.value.facts):
            raise PlanMissed(f"intake was told {', '.join(self._story.told)}")

    async def _next_told(self) -> None:
        name, event = await self._story.intake_facts.get()
        self._story.told.append(name)
        self._story.seen.setdefault(name, time.monotonic() - self._started)
        if name == "Decided":
            decided = event_pb2.Decided()
            event.fact.Unpack(decided)
            if decided.outcome != self._story.ending.value.outcome:
                raise PlanMissed(f"decided as {case_pb2.Outcome.Name(decided.outcome)}")


def describe(error: BaseException) -> str:
    """One line about why a story missed its plan."""
    match error:
        case TimeoutError():
            return f"nothing came for {PATIENCE:.0f} s"
        case RongheError():
            return f"{error.reason}: {error.message}"
        case PlanMissed():
            return str(error)
        case _:
            return type(error).__name__
