"""What the lead organ does with its case."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clients.demo.story import OFFICER, REMEDIES, Story
from clients.department import DepartmentClient
from ronghe.case.v1 import case_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.collaboration.v1.collaboration_pb2 import COMPLETION_ALL_MUST_ANSWER
from ronghe.department.v1 import department_service_pb2 as pb
from ronghe.document.v1.document_pb2 import Document

Citation = pb.DecideApplicationRequest.Citation
Override = pb.DecideApplicationRequest.Override


@dataclass(frozen=True, slots=True)
class Lead:
    """The back office of the organ that leads."""

    story: Story
    client: DepartmentClient

    async def accept(self, **judgement: Any) -> None:
        """受理, with the judgement whether others must be asked: nobody, where nothing is given."""
        judgement = judgement or {"none": pb.AcceptApplicationRequest.NoCollaboration(reason="演示：无需其他部门协同")}
        await self.client.accept_application(pb.AcceptApplicationRequest(**self._act, **judgement))

    async def refuse(self) -> None:
        """不予受理."""
        await self.client.refuse_acceptance(
            pb.RefuseAcceptanceRequest(
                **self._act,
                reasons=["申请事项依法不属于本机关职权范围"],
                basis=["行政许可法 第三十二条第一款第二项"],
                competent_body="有权机关",
                remedies=REMEDIES,
            )
        )

    async def correct(self, defect: str = "未签字", required: str = "补签后的申请表", task_id: str = "") -> Document:
        """补正: the notice; `task_id` where a collaborator needs it."""
        line = pb.Defect(
            subject="申请材料", defect=defect, required=required, basis="行政许可法 第三十二条", task_id=task_id
        )
        return (await self.client.request_correction(pb.RequestCorrectionRequest(**self._act, defects=[line]))).notice

    async def step(self) -> int:
        """审查; the case's version after it."""
        step = case_pb2.Step(name="审查", result=case_pb2.Step.RESULT_PASSED, opinion="材料齐全，符合法定形式")
        step.started_at.GetCurrentTime()
        step.ended_at.CopyFrom(step.started_at)
        return (await self.client.record_step(pb.RecordStepRequest(**self._act, step=step))).version

    async def decide(
        self, version: int, citations: Sequence[Citation] = (), overrides: Sequence[Override] = ()
    ) -> None:
        """审批决定, as planned."""
        request = pb.DecideApplicationRequest(**self._act, if_version=version, citations=citations, overrides=overrides)
        if self.story.ending.value.outcome == case_pb2.OUTCOME_DENIED:
            request.denied.reasons.append("不符合法定条件")
            request.denied.remedies = REMEDIES
        else:
            today = datetime.now().astimezone()
            request.granted.certificate_number = f"DEMO-{today:%Y}-{self.story.number:06}"
            valid_from = request.granted.valid_from
            valid_from.year, valid_from.month, valid_from.day = today.year, today.month, today.day
        await self.client.decide_application(request)

    async def close(self) -> None:
        """办结."""
        await self.client.close_case(pb.CloseCaseRequest(**self._act))

    async def ask(self, rules: Sequence[str], others: Sequence[Any] = ()) -> Citation:
        """提出协同: the collaboration and its round, as a decision cites it."""
        request = collaboration.RequestCollaborationRequest(
            **self._act, rules=rules, others=others, completion=COMPLETION_ALL_MUST_ANSWER
        )
        asked = await self.client.collaborations.request_collaboration(request)
        return Citation(collaboration_id=asked.collaboration_id, round=asked.round)

    async def recall(self, collaboration_id: str) -> None:
        """撤销协同."""
        request = collaboration.RecallCollaborationRequest(
            **self._act, collaboration_id=collaboration_id, reason="演示：情况已查清，无需答复"
        )
        await self.client.collaborations.recall_collaboration(request)

    @property
    def _act(self) -> dict[str, Any]:
        return {"case_id": self.story.case_id, "actor": OFFICER}
