"""Hands every party what its inbox says, and runs the stories."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from clients.demo.ear import short_name, unpacked
from clients.demo.plain import PlainPlay
from clients.demo.shared import SharedPlay, SharedStory
from clients.demo.story import PATIENCE, Cast, NotCrossed, PlanMissed, Story, describe
from clients.department import DepartmentClient
from clients.governance import GovernanceClient
from clients.intake import IntakeClient
from clients.subsystem import SubsystemClient
from ronghe.event.v1.event_pb2 import Event, Submitted

AT_ONCE = 96


class Director:
    """One inbox session for each party: an organ may lead in one story and be asked in another."""

    def __init__(
        self,
        terminal: IntakeClient,
        receiver: IntakeClient,
        organs: Mapping[str, DepartmentClient],
        centers: Mapping[str, GovernanceClient] | None = None,
    ) -> None:
        self._cast = Cast(terminal, organs, centers or {}, self._know)
        self._inboxes: Mapping[str, SubsystemClient] = {
            "intake": receiver,
            **{f"organ/{name}": client for name, client in organs.items()},
            **{f"center/{name}": client for name, client in self._cast.centers.items()},
        }
        self._by_case: dict[str, Story] = {}
        self._by_number: dict[str, Story] = {}

    async def play(self, stories: Sequence[Story], progress: Callable[[Story], None]) -> Sequence[Story]:
        """Run all stories, some at once."""
        self._by_number = {story.request.external_no: story for story in stories}
        listening = [asyncio.create_task(self._listen(party, client)) for party, client in self._inboxes.items()]
        room = asyncio.Semaphore(AT_ONCE)
        try:
            await asyncio.gather(*(self._run(story, room, progress) for story in stories))
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        for story in stories:
            _check_again(story)
        return stories

    async def _run(self, story: Story, room: asyncio.Semaphore, progress: Callable[[Story], None]) -> None:
        async with room:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._play(story)
                    await story.end()
            except Exception as error:
                story.problem = describe(error)
            progress(story)

    async def _play(self, story: Story) -> None:
        if isinstance(story, SharedStory):
            return await SharedPlay(story, self._cast).run()
        while True:
            try:
                return await PlainPlay(story, self._cast).run()
            except NotCrossed:
                del self._by_case[story.case_id], self._by_number[story.request.external_no]
                story.apply_again()
                self._by_number[story.request.external_no] = story

    def _know(self, story: Story) -> None:
        self._by_case[story.case_id] = story

    async def _listen(self, party: str, client: SubsystemClient) -> None:
        async for item in client.inbox():
            story = self._story_of(item.event)
            if story is not None:
                story.ears[party].tell(item.event)
            await item.ack()

    def _story_of(self, event: Event) -> Story | None:
        """The organ may hear of a case before the terminal has its voucher: the number is known from the start."""
        if short_name(event) == Submitted.DESCRIPTOR.name:
            return self._by_number.get(unpacked(event, Submitted).application.external_no)
        return self._by_case.get(event.case_id)


def _check_again(story: Story) -> None:
    """Nobody was told more after the story's end."""
    if not story.problem:
        try:
            story.check()
        except PlanMissed as missed:
            story.problem = str(missed)
