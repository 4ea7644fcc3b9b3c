"""The demo: plans, plays and reports."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from itertools import islice
from uuid import uuid4

from clients.demo.applications import Applicants
from clients.demo.plan import Desk, endings
from clients.demo.stage import Stage
from clients.demo.story import Cast, Play, Story, describe
from clients.department import DepartmentClient
from clients.identity import Identity
from clients.intake import IntakeClient
from clients.subsystem import SubsystemClient
from ronghe.catalog.v1 import catalog_service_pb2 as catalog
from ronghe.event.v1 import event_pb2

INTAKE = "yukuaiban"
DESKS = 24
AT_ONCE = 48
Progress = Callable[[Story], None]


async def play(stage: Stage, count: int, progress: Progress) -> Sequence[Story]:
    """Play so many cases; each story tells how it went."""
    async with AsyncExitStack() as stack:
        terminal = await stack.enter_async_context(
            IntakeClient(stage.addresses["intake"], stage.pki, Identity("terminal", INTAKE))
        )
        receiver = await stack.enter_async_context(
            IntakeClient(stage.addresses["intake"], stage.pki, Identity("intake", INTAKE))
        )
        desks = await find_desks(terminal)
        organs = {}
        for organ_id in {desk.organ.id for desk in desks}:
            client = DepartmentClient(stage.addresses["department"], stage.pki, Identity("organ", organ_id))
            organs[organ_id] = await stack.enter_async_context(client)
        return await Director(terminal, receiver, organs).play(write_stories(desks, count), progress)


class Director:
    """Hands every party what its inbox says, and runs the stories."""

    def __init__(self, terminal: IntakeClient, receiver: IntakeClient, organs: dict[str, DepartmentClient]) -> None:
        self._cast = Cast(terminal, organs, self._know)
        self._receiver = receiver
        self._by_case: dict[str, Story] = {}
        self._by_number: dict[str, Story] = {}

    async def play(self, stories: Sequence[Story], progress: Progress) -> Sequence[Story]:
        """Run all stories, some at once."""
        self._by_number = {story.request.external_no: story for story in stories}
        listening = [asyncio.create_task(self._listen_organ(client)) for client in self._cast.organs.values()]
        listening.append(asyncio.create_task(self._listen_intake()))
        room = asyncio.Semaphore(AT_ONCE)
        try:
            await asyncio.gather(*(self._run(story, room, progress) for story in stories))
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        return stories

    async def _run(self, story: Story, room: asyncio.Semaphore, progress: Progress) -> None:
        async with room:
            try:
                await Play(story, self._cast).run()
            except Exception as error:
                story.problem = describe(error)
            progress(story)

    def _know(self, story: Story) -> None:
        self._by_case[story.case_id] = story

    async def _listen_organ(self, client: SubsystemClient) -> None:
        async for item in client.inbox():
            name = _name(item.event)
            story = self._submitted(item.event) if name == "Submitted" else self._by_case.get(item.event.case_id)
            if story is not None:
                story.organ_facts.put_nowait((name, item.event))
            await item.ack()

    async def _listen_intake(self) -> None:
        async for item in self._receiver.inbox():
            story = self._by_case.get(item.event.case_id)
            if story is not None:
                story.intake_facts.put_nowait((_name(item.event), item.event))
            await item.ack()

    def _submitted(self, event: event_pb2.Event) -> Story | None:
        """The organ may hear of a case before the terminal has its voucher: the number is known from the start."""
        fact = event_pb2.Submitted()
        event.fact.Unpack(fact)
        return self._by_number.get(fact.application.external_no)


def write_stories(desks: Sequence[Desk], count: int) -> Sequence[Story]:
    """Stories for all desks in turn, with every ending in its share."""
    applicants = Applicants(f"{int(time.time()):X}{uuid4().hex[:4].upper()}")
    planned = islice(endings(), count)
    return [
        Story(number, desk := desks[number % len(desks)], ending, applicants.application(desk))
        for number, ending in enumerate(planned, 1)
    ]


async def find_desks(client: SubsystemClient) -> Sequence[Desk]:
    """Different organs in different divisions, each with an item that it leads there."""
    items = [item async for item in _items(client)]
    divisions = [division async for division in _divisions(client)]
    desks: dict[str, Desk] = {}
    # Each item at another division than the item before it, so that few desks cover many of both.
    for number in range(len(items) * len(divisions)):
        item, division = items[number % len(items)], divisions[(number * 7 + number // len(items)) % len(divisions)]
        if division.tier != item.default_tier:
            continue
        organs = await client.catalog.list_organs(
            catalog.ListOrgansRequest(department=item.lead_department, division=division.code)
        )
        for organ in organs.organs:
            if organ.tier == item.default_tier and organ.division == division.code:
                desks.setdefault(organ.id, Desk(item, division.code, organ))
        if len(desks) >= DESKS:
            break
    return list(desks.values())


async def _items(client: SubsystemClient):  # type: ignore[no-untyped-def]
    request = catalog.ListServiceItemsRequest()
    while True:
        response = await client.catalog.list_service_items(request)
        for item in response.items:
            yield item
        request.page_token = response.next_page_token
        if not request.page_token:
            return


async def _divisions(client: SubsystemClient):  # type: ignore[no-untyped-def]
    request = catalog.ListDivisionsRequest()
    while True:
        response = await client.catalog.list_divisions(request)
        for division in response.divisions:
            yield division
        request.page_token = response.next_page_token
        if not request.page_token:
            return


def _name(event: event_pb2.Event) -> str:
    return event.fact.type_url.rpartition(".")[2]
