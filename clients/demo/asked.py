"""How those who are asked play their parts."""

import asyncio

from clients.demo.collaborator import Collaborator, route_by_hand
from clients.demo.courses import Turn
from clients.demo.scene import Scene
from clients.demo.story import Cast, Story
from ronghe.collaboration.v1.collaboration_pb2 import Answer
from ronghe.event.v1 import event_pb2 as event


class Asked:
    """All organs that are asked in one case, and the officer of the center."""

    def __init__(self, story: Story, scene: Scene, cast: Cast) -> None:
        self._story = story
        self._scene = scene
        self._cast = cast

    async def act(self) -> None:
        """Everybody's part in the first round. Raises RongheError, PlanMissed."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._first())
            for organ_id in self._scene.others:
                group.create_task(self._agree(organ_id))

    async def again(self) -> None:
        """The second round: the first one agrees now."""
        await self._agree(self._scene.chain[-1], nth=2)

    async def _first(self) -> None:
        """The task goes from one to the next, and the last does as the course says."""
        course, chain = self._scene.course, self._scene.chain
        for number, (organ_id, suggested_id) in enumerate(zip(chain, [*chain[1:], ""], strict=True)):
            if number == course.by_hand:
                await self._route_by_hand(organ_id)
            organ = self._organ(organ_id)
            task = await organ.receive(self._scene.discloses)
            if suggested_id:
                await organ.give_back(task, suggested_id)
            elif course.turn in (Turn.RECALL, Turn.WITHDRAWAL):
                await organ.sign(task)
            else:
                await organ.answer(task, course.opinion)

    async def _agree(self, organ_id: str, nth: int = 1) -> None:
        organ = self._organ(organ_id)
        await organ.answer(await organ.receive(self._scene.discloses, nth), Answer.OPINION_AGREE)

    async def _route_by_hand(self, organ_id: str) -> None:
        center = self._scene.center
        held = await self._story.ears[f"center/{center}"].hear(event.TaskHeld)
        await route_by_hand(self._cast.centers[center], held, organ_id)

    def _organ(self, organ_id: str) -> Collaborator:
        return Collaborator(self._story, organ_id, self._cast.organs[organ_id])
