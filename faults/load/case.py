"""One case, and the acts of its lead and its applicant."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, TypeVar

from google.protobuf.message import Message

from clients.department import DepartmentClient
from clients.errors import CaseChanged, Refused
from faults.load.applications import Desk, application
from faults.load.cast import INTAKE, TERMINAL, Cast
from faults.load.questions import BEYOND, question_to
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CONSULTATION, TIER_TOWN
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.collaboration.v1.collaboration_pb2 import COMPLETION_ALL_MUST_ANSWER, Answer, Collaboration, Completion
from ronghe.department.v1 import department_service_pb2 as pb
from ronghe.event.v1 import event_pb2 as event
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.party.v1.party_pb2 import Officer

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)

OFFICER = Officer(name="主办经办人")
BASIS = "行政许可法 第三十二条"
REMEDIES = "可在六十日内申请行政复议，或者在六个月内提起行政诉讼"
LOOK_SECONDS = 5.0
DECIDED = (case_pb2.STATE_DECIDED, case_pb2.STATE_CLOSED)
ENDS = ("Closed", "AcceptanceRefused", "Withdrawn")
EXPLANATION = "已采取补救措施"
OVERTAKEN = ("COLLABORATION_NOT_CITED", "CORRECTION_OPEN")
"""Refusals that call for another look at the case."""


@dataclass
class Case:
    """What a course plays with."""

    number: int
    desk: Desk
    cast: Cast
    case_id: str = ""
    request: intake.SubmitApplicationRequest | None = None
    """What is handed in; made when it is needed."""
    voucher_number: str = ""
    collaboration_id: str = ""
    began_at: float = 0.0
    """Seconds since 1970, as `ended_at`, by the load's own clock."""
    ended_at: float = inf

    # --- the applicant ---

    async def submit(self) -> None:
        """Return when the lead has it."""
        request = self.request or self.application()
        taken = await self.cast.caller.perform(TERMINAL, self.cast.terminal.submit_application, request)
        self.case_id, self.voucher_number = taken.case_id, taken.voucher.number
        await self.lead_is_told("Submitted")

    def application(self) -> intake.SubmitApplicationRequest:
        """A new one."""
        return application(self.desk, self.cast.items[self.desk.item], self.number)

    async def withdraw(self) -> None:
        """Ask the lead to end it."""
        request = intake.RequestWithdrawalRequest(case_id=self.case_id, reason="不再需要")
        request.actor.applicant.level = 3
        await self.cast.caller.perform(TERMINAL, self.cast.terminal.request_withdrawal, request)

    async def withdraw_if_open(self) -> bool:
        """Whether intake took the request: not where it knows the case's end already."""
        try:
            await self.withdraw()
        except Refused:
            return False
        return True

    async def withdrawal_is_answered(self) -> None:
        """Return when the lead was told what became of the request.

        Or when intake has lost it with its database, and knows a decision since: it cannot be made again then.
        """
        told = asyncio.create_task(self.lead_is_told("Withdrawn", "WithdrawalDeclined"))
        try:
            while not (await asyncio.wait([told], timeout=LOOK_SECONDS))[0]:
                request = intake.GetApplicationRequest(case_id=self.case_id)
                case = (await self.cast.caller.repeated(self.cast.terminal.get_application, request)).case
                if case.state in DECIDED and not case.withdrawal:
                    return
        finally:
            told.cancel()

    async def ended(self) -> None:
        """Return when the intake system was told of the end."""
        await self.cast.told[self.case_id].until(str(INTAKE), *ENDS)

    # --- the lead ---

    async def lead_is_told(self, *names: str) -> None:
        """Return when the lead's inbox gave one of these."""
        await self.cast.told[self.case_id].until(str(self.desk.organ), *names)

    async def lead_is_fed_back(self, *names: str) -> None:
        """Return when the lead's inbox gave one of these about what it asked last."""
        told = self.cast.told[self.case_id]
        await told.until(str(self.desk.organ), *names, collaboration_id=self.collaboration_id)

    async def accept(self) -> None:
        """Without asking anybody."""
        request = pb.AcceptApplicationRequest(case_id=self.case_id, actor=OFFICER)
        request.none.reason = "无需其他部门协同"
        await self._perform(self._client.accept_application, request)

    async def accept_as_proposed(self) -> None:
        """With the judgement that the rules propose."""
        request = pb.AcceptApplicationRequest(case_id=self.case_id, actor=OFFICER)
        request.as_proposed.SetInParent()
        await self._perform(self._client.accept_application, request)

    async def refuse(self) -> None:
        """Not accepted."""
        request = pb.RefuseAcceptanceRequest(
            case_id=self.case_id,
            actor=OFFICER,
            reasons=["申请事项依法不属于本机关职权范围"],
            basis=["行政许可法 第三十二条第一款第二项"],
            competent_body="有权机关",
            remedies=REMEDIES,
        )
        await self._perform(self._client.refuse_acceptance, request)

    async def correct(self) -> None:
        """A notice, and its answer."""
        await self._correct([pb.Defect(subject="申请表", defect="未签字", required="补签后的申请表", basis=BASIS)])

    async def pass_on_needs(self) -> None:
        """The same of what those asked need."""
        defects = [
            pb.Defect(subject="申请材料", defect="协办部门要求补充", required=need, basis=BASIS, task_id=one.task_id)
            for one in self._answers
            for need in one.answer.needs
        ]
        await self._correct(defects)

    async def _correct(self, defects: Sequence[pb.Defect]) -> None:
        request = pb.RequestCorrectionRequest(case_id=self.case_id, actor=OFFICER, defects=defects)
        notice = (await self._perform(self._client.request_correction, request)).notice
        await self.cast.told[self.case_id].until(str(INTAKE), "CorrectionRequested")
        answers = [case_pb2.LineAnswer(line=line.line, text="已补充") for line in notice.lines]
        supplement = intake.SupplementApplicationRequest(
            case_id=self.case_id, notice_number=notice.number, answers=answers
        )
        supplement.actor.applicant.level = 3
        await self.cast.caller.perform(TERMINAL, self.cast.terminal.supplement_application, supplement)
        await self.lead_is_told("SupplementReceived", "SupplementLate")

    async def step(self) -> None:
        """The examination."""
        step = case_pb2.Step(name="审查", result=case_pb2.Step.RESULT_PASSED, opinion="符合法定形式")
        step.started_at.GetCurrentTime()
        step.ended_at.CopyFrom(step.started_at)
        request = pb.RecordStepRequest(case_id=self.case_id, actor=OFFICER, step=step)
        await self._perform(self._client.record_step, request)

    async def grant(self) -> None:
        """Granted, and closed; who disagreed last is told why he is not followed."""
        request = pb.DecideApplicationRequest(case_id=self.case_id, actor=OFFICER)
        request.granted.certificate_number = f"FAULTS-{self.number:08}"
        first = request.granted.valid_from
        first.year, first.month, first.day = 2027, 1, 1
        for one in self._answers:
            if one.answer.opinion == Answer.OPINION_DISAGREE:
                request.overrides.add(task_id=one.task_id, explanation=EXPLANATION)
        await self._decide(request)
        await self.close()

    async def deny(self) -> None:
        """Denied, and closed."""
        await self._decide(self._denial())
        await self.close()

    async def deny_if_open(self) -> None:
        """Denied, unless the case has ended."""
        try:
            await self._decide(self._denial())
        except Refused:
            return

    async def close_if_decided(self) -> None:
        """Closed, where it was decided."""
        if (await self._read()).state == case_pb2.STATE_DECIDED:
            await self.close()

    async def close(self) -> None:
        """办结."""
        await self._perform(self._client.close_case, pb.CloseCaseRequest(case_id=self.case_id, actor=OFFICER))

    # --- asking others ---

    async def ask(self, rules: Sequence[str], completion: "Completion.ValueType", question: str = "") -> None:
        """By the item's rules."""
        await self._ask(rules=rules, completion=completion, question=question)

    async def consult(self, rules: Sequence[str], opinion: "Answer.Opinion.ValueType" = Answer.OPINION_AGREE) -> None:
        """Return when all have answered: whom the first rule asks with this opinion; the others agree."""
        await self.ask(rules, COMPLETION_ALL_MUST_ANSWER, question_to(rules[0], opinion))
        await self.lead_is_fed_back("CollaborationConcluded")

    async def ask_organ(self, organ: str, question: str = BEYOND) -> None:
        """One that no rule names, and that is told of nothing but the question."""
        other = self._other(question)
        other.organ_id = organ
        await self._ask(others=[other], completion=COMPLETION_ALL_MUST_ANSWER)

    async def ask_where_there_is_none(self) -> None:
        """A department that no town has."""
        other = self._other(BEYOND)
        other.department, other.tier = "FIRE", TIER_TOWN
        await self._ask(others=[other], completion=COMPLETION_ALL_MUST_ANSWER)

    async def recall(self) -> None:
        """Take it back, unless it has ended."""
        request = collaboration.RecallCollaborationRequest(
            case_id=self.case_id, actor=OFFICER, collaboration_id=self.collaboration_id, reason="不再需要"
        )
        try:
            await self._perform(self._client.collaborations.recall_collaboration, request)
        except Refused:
            self.cast.told[self.case_id].say(str(self.desk.organ), "RecallDeclined", self.collaboration_id)

    @property
    def _answers(self) -> Sequence[event.AnswerReceived]:
        """Those that the lead was told of what it asked last."""
        answers = self.cast.told[self.case_id].answers.values()
        return [one for one in answers if one.collaboration_id == self.collaboration_id]

    def _other(self, question: str) -> collaboration.RequestCollaborationRequest.Other:
        return collaboration.RequestCollaborationRequest.Other(
            kind=COLLABORATION_KIND_CONSULTATION, question=question, reply_days=3
        )

    async def _ask(self, **fields: Any) -> None:
        request = collaboration.RequestCollaborationRequest(case_id=self.case_id, actor=OFFICER, **fields)
        answer = await self._perform(self._client.collaborations.request_collaboration, request)
        self.collaboration_id = answer.collaboration_id

    # --- how ---

    @property
    def _client(self) -> DepartmentClient:
        return self.cast.organs[self.desk.lead]

    async def _perform(self, call: Callable[[Req], Awaitable[Resp]], request: Req) -> Resp:
        return await self.cast.caller.perform(self.desk.organ, call, request)

    async def _read(self) -> case_pb2.Case:
        request = cases.GetCaseRequest(case_id=self.case_id)
        return (await self.cast.caller.repeated(self._client.cases.get_case, request)).case

    def _denial(self) -> pb.DecideApplicationRequest:
        request = pb.DecideApplicationRequest(case_id=self.case_id, actor=OFFICER)
        request.denied.reasons.append("不符合法定条件")
        request.denied.remedies = REMEDIES
        return request

    async def _decide(self, request: pb.DecideApplicationRequest) -> None:
        """On the case as it stands; looked at again as often as something came in between."""
        while True:
            case = await self._read()
            request.if_version = case.version
            del request.citations[:]
            for standing in case.collaborations:
                answered = any(task.HasField("answer") and not task.answer_late for task in standing.tasks)
                if answered or standing.state == Collaboration.STATE_CONCLUDED:
                    request.citations.add(collaboration_id=standing.collaboration_id, round=standing.round)
            try:
                await self._perform(self._client.decide_application, request)
            except CaseChanged:
                continue
            except Refused as refused:
                if refused.reason in OVERTAKEN:
                    continue
                raise
            return
