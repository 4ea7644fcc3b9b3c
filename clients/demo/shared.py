"""A case that asks others before it is decided."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clients.demo.applicant import Applicant
from clients.demo.asked import Asked
from clients.demo.courses import Turn
from clients.demo.lead import Citation, Lead, Override
from clients.demo.scene import Scene
from clients.demo.story import Cast, PlanMissed, Story
from ronghe.case.v1.case_pb2 import OUTCOME_GRANTED
from ronghe.collaboration.v1.collaboration_pb2 import Answer
from ronghe.department.v1.department_service_pb2 import AcceptApplicationRequest
from ronghe.event.v1 import event_pb2 as event

EXPLANATION = "已采取交通疏导措施，影响可控"


@dataclass(eq=False)
class SharedStory(Story):
    """What happens to one case that asks others."""

    scene: Scene = field(kw_only=True)
    collaboration_id: str = ""
    """The first one."""
    asked_at: float = 0.0
    answered_at: float = 0.0
    """When the last of them had answered in the first round."""

    @property
    def plan(self) -> Mapping[str, Sequence[str]]:
        """What each party must have been told in the end."""
        scene, course = self.scene, self.scene.course
        *before, last = scene.chain
        return {
            "intake": course.facts,
            self.lead_party: course.lead_is_told(tasks=1 + len(scene.others)),
            **{f"organ/{organ}": ("TaskAssigned",) for organ in (*before, *scene.others)},
            f"organ/{last}": course.first_is_told,
            f"center/{scene.center}": () if course.by_hand is None else ("TaskHeld",),
        }


class SharedPlay:
    """Plays one story from its submission on; the parties act on what their inboxes have."""

    def __init__(self, story: SharedStory, cast: Cast) -> None:
        self._story = story
        self._scene = story.scene
        self._applicant = Applicant(story, cast)
        self._lead = Lead(story, cast.organs[story.desk.organ.id])
        self._asked = Asked(story, story.scene, cast)
        self._citations: list[Citation] = []

    async def run(self) -> None:
        """Raises RongheError, PlanMissed."""
        await self._applicant.submit()
        await self._story.lead.hear(event.Submitted)
        await self._accept()
        self._story.asked_at = time.monotonic()
        await self._ask(self._scene.rules, self._scene.beyond)
        await self._asked.act()
        self._story.answered_at = time.monotonic()
        match self._scene.course.turn:
            case Turn.DECISION:
                await self._decide()
            case Turn.SECOND_ROUND:
                await self._supply()
                await self._ask(self._scene.rules[:1])
                await self._asked.again()
                await self._decide()
            case Turn.RECALL:
                await self._recall()
            case Turn.WITHDRAWAL:
                await self._hear_answers()
                await self._applicant.withdraw()

    async def _accept(self) -> None:
        if self._scene.course.rules:
            explicit = AcceptApplicationRequest.Explicit(reason="演示：按需协同", rules=self._scene.rules)
            await self._lead.accept(explicit=explicit)
        else:
            await self._lead.accept(as_proposed=AcceptApplicationRequest.AsProposed())

    async def _ask(self, rules: Sequence[str], beyond: Sequence[object] = ()) -> None:
        self._citations.append(await self._lead.ask(rules, beyond))
        asked, times = self._citations[-1], len(self._citations)
        self._story.collaboration_id = self._citations[0].collaboration_id
        opened = await self._story.lead.hear(event.CollaborationOpened, times)
        if (opened.center_id, asked.round) != (self._scene.center, times):
            raise PlanMissed(f"center {opened.center_id} opened round {asked.round}")

    async def _supply(self) -> None:
        """What the first one needs becomes a correction."""
        await self._story.lead.hear(event.CollaborationConcluded)
        needed = next(one for one in self._story.lead.facts(event.AnswerReceived) if one.answer.needs)
        notice = await self._lead.correct("协办部门要求补充", needed.answer.needs[0], needed.task_id)
        await self._story.intake.hear(event.CorrectionRequested)
        await self._applicant.supplement(notice)
        await self._story.lead.hear(event.SupplementReceived)

    async def _recall(self) -> None:
        await self._hear_answers()
        await self._lead.recall(self._citations[-1].collaboration_id)  # what was answered until then still counts
        await self._story.lead.hear(event.CollaborationRecalled)
        await self._close(await self._lead.step())

    async def _hear_answers(self) -> None:
        """Those of all but the first, who is silent."""
        await self._story.lead.hear_all(2 + len(self._scene.others))

    async def _decide(self) -> None:
        await self._story.lead.hear(event.CollaborationConcluded, len(self._citations))
        await self._close(await self._lead.step())

    async def _close(self, version: int) -> None:
        await self._lead.decide(version, self._citations, self._overrides())
        await self._lead.close()

    def _overrides(self) -> Sequence[Override]:
        """A decision that grants says why it does not follow those who disagree."""
        if self._scene.course.outcome != OUTCOME_GRANTED:
            return []
        answers = self._story.lead.facts(event.AnswerReceived)
        against = [one.task_id for one in answers if one.answer.opinion == Answer.OPINION_DISAGREE]
        self._story.carried += [EXPLANATION] * len(against)
        return [Override(task_id=task_id, explanation=EXPLANATION) for task_id in against]
