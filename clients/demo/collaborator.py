"""What those who are asked do with their tasks, and what an officer of a center does with one that nobody gets."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from clients.demo.story import OFFICER, PlanMissed, Story
from clients.department import DepartmentClient
from clients.governance import GovernanceClient
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CO_APPROVAL, COLLABORATION_KIND_JOINT_SITE_VISIT
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Answer, Brief, CoApproval
from ronghe.event.v1 import event_pb2 as event
from ronghe.governance.v1.governance_service_pb2 import RouteCollaborationRequest
from ronghe.party.v1.party_pb2 import Officer

ON_DUTY = Officer(id="G-0001", name="演示值班员")
CONDITION = "施工时段限于22时至次日6时"


@dataclass(frozen=True, slots=True)
class Collaborator:
    """The back office of an organ that is asked."""

    story: Story
    organ_id: str
    client: DepartmentClient

    async def receive(self, discloses: Mapping[str, Collection[str]], nth: int = 1) -> event.TaskAssigned:
        """The task, as it comes; its brief shows of the form what it may. Raises PlanMissed."""
        assigned = await self.story.ears[f"organ/{self.organ_id}"].hear(event.TaskAssigned, nth)
        shown = {value.name for value in assigned.brief.form}
        if not shown <= set(discloses.get(assigned.brief.rule, ())) or assigned.brief.HasField("personal"):
            raise PlanMissed("a brief shows what its rule does not disclose")
        return assigned

    async def sign(self, task: event.TaskAssigned) -> None:
        """签收."""
        await self.client.collaborations.sign_for_task(pb.SignForTaskRequest(task_id=task.task_id, actor=OFFICER))

    async def answer(self, task: event.TaskAssigned, opinion: "Answer.Opinion.ValueType") -> None:
        """签收 and 反馈."""
        await self.sign(task)
        given = _answer(task.brief, opinion, f"演示协审{self.story.number:06}-{self.organ_id}")
        self.story.carried += [*given.conditions, *filter(None, [given.co_approval.document_number])]
        await self.client.collaborations.answer_task(
            pb.AnswerTaskRequest(task_id=task.task_id, actor=OFFICER, answer=given)
        )

    async def give_back(self, task: event.TaskAssigned, suggested_id: str) -> None:
        """退回: it is somebody else's duty."""
        request = pb.ReturnTaskRequest(
            task_id=task.task_id, actor=OFFICER, reason="演示：不属于本机关职责", suggested_organ_id=suggested_id
        )
        await self.client.collaborations.return_task(request)


def _answer(brief: Brief, opinion: "Answer.Opinion.ValueType", number: str) -> Answer:
    """With all that its opinion and its kind of collaboration ask for."""
    match opinion:
        case Answer.OPINION_AGREE_WITH_CONDITIONS:
            given = Answer(opinion=opinion, conditions=[CONDITION])
        case Answer.OPINION_DISAGREE:
            given = Answer(opinion=opinion, reasons=["影响早晚高峰通行"])
        case Answer.OPINION_NEED_MORE_MATERIAL:
            return Answer(opinion=opinion, needs=["交通组织方案"])
        case _:
            given = Answer(opinion=opinion, text="经核，无异议")
    if brief.kind == COLLABORATION_KIND_CO_APPROVAL:
        disagrees = opinion == Answer.OPINION_DISAGREE
        given.co_approval.document_number = number
        given.co_approval.result = CoApproval.RESULT_DENIED if disagrees else CoApproval.RESULT_GRANTED
        today, issued_on = datetime.now().astimezone(), given.co_approval.issued_on
        issued_on.year, issued_on.month, issued_on.day = today.year, today.month, today.day
    if brief.kind == COLLABORATION_KIND_JOINT_SITE_VISIT:
        given.visited_at.GetCurrentTime()
    return given


async def route_by_hand(center: GovernanceClient, held: event.TaskHeld, organ_id: str) -> None:
    """人工派遣."""
    await center.route_collaboration(
        RouteCollaborationRequest(
            collaboration_id=held.collaboration_id,
            task_id=held.task_id,
            actor=ON_DUTY,
            organ_id=organ_id,
            reason="演示：按职责派遣",
        )
    )
