"""The demo: plans what is to happen, and lets it happen."""

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from itertools import cycle
from uuid import uuid4

from clients.demo.applications import Applicants
from clients.demo.courses import Shared
from clients.demo.desks import find_desks
from clients.demo.director import Director
from clients.demo.plan import endings
from clients.demo.scenes import SceneFinder
from clients.demo.shared import SharedStory
from clients.demo.stage import Stage
from clients.demo.story import Story
from clients.department import DepartmentClient
from clients.governance import GovernanceClient
from clients.identity import Identity
from clients.intake import IntakeClient
from clients.subsystem import SubsystemClient

INTAKE = "yukuaiban"
EVERY = 4
"""Out of so many cases one asks others."""


async def play(stage: Stage, count: int, progress: Callable[[Story], None]) -> Sequence[Story]:
    """Play so many cases; each story tells how it went."""
    async with AsyncExitStack() as stack:

        async def intake(kind: str) -> IntakeClient:
            client = IntakeClient(stage.addresses["intake"], stage.pki, Identity(kind, INTAKE))
            return await stack.enter_async_context(client)

        terminal, receiver = await intake("terminal"), await intake("intake")
        stories = await write_stories(terminal, count)
        organs: dict[str, DepartmentClient] = {}
        for organ_id in {organ_id for story in stories for organ_id in _organs(story)}:
            organ = DepartmentClient(stage.addresses["department"], stage.pki, Identity("organ", organ_id))
            organs[organ_id] = await stack.enter_async_context(organ)
        centers: dict[str, GovernanceClient] = {}
        for center_id in {story.scene.center for story in stories if isinstance(story, SharedStory)}:
            center = GovernanceClient(stage.addresses["governance"], stage.pki, Identity("center", center_id))
            centers[center_id] = await stack.enter_async_context(center)
        return await Director(terminal, receiver, organs, centers).play(stories, progress)


def _organs(story: Story) -> Sequence[str]:
    asked = story.scene.organs if isinstance(story, SharedStory) else ()
    return [story.desk.organ.id, *asked]


async def write_stories(client: SubsystemClient, count: int) -> Sequence[Story]:
    """Plain cases for all desks in turn, with every ending in its share; and between them those that ask others."""
    applicants = Applicants(f"{int(time.time()):X}{uuid4().hex[:4].upper()}")
    desks = cycle(await find_desks(client))
    scenes, plain, shared = await SceneFinder.load(client, applicants), endings(), cycle(Shared)
    stories: list[Story] = []
    for number in range(count):
        if number % EVERY == 0:
            ending = next(shared)
            scene = await scenes.find(ending.value, number // EVERY)
            stories.append(SharedStory(number, scene.desk, ending, scene.request, scene=scene))
        else:
            desk = next(desks)
            stories.append(Story(number, desk, next(plain), applicants.application(desk)))
    return stories
