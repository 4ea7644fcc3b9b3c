"""Cases that wait in the inboxes of organs that have no other part."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from clients.department import DepartmentClient
from clients.identity import Identity
from faults.checker.journals import opened
from faults.injections.stage import NotInjected, Stage
from faults.load.applications import Desk
from faults.load.case import Case
from faults.load.courses import refused
from faults.load.parties import Receiver
from ronghe.catalog.v1.catalog_pb2 import Place
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest

LONGEST_TEXT, LONGEST_DESCRIPTION, MOST_PLACES = "长" * 4000, "长" * 256, 20
"""Of an application."""
END_SECONDS = 60.0
"""Within which what is for an organ has come, and within which its cases end once it takes them."""
LOOK_SECONDS = 0.1


@asynccontextmanager
async def waiting(stage: Stage, desks: Sequence[Desk], cases: int, *, long: bool = False) -> AsyncIterator[None]:
    """So many cases for each of these organs, which have no other part; the block begins when the first item waits.

    Where they are `long`, when all wait. After it the organs take whatever they were to be given, and the cases end.
    """
    load, organs = stage.load, [desk.organ for desk in desks]
    proxy = stage.network.get("department")
    address = proxy.address if proxy else stage.mesh.addresses["department"]
    async with AsyncExitStack() as stack:
        clients = {
            organ.id: await stack.enter_async_context(DepartmentClient(address, stage.mesh.data / "pki", organ))
            for organ in organs
        }
        everybody = replace(load.cast, organs={**load.cast.organs, **clients})
        begun = [Case(next(load.extra), desk, everybody) for desk in desks for _ in range(cases)]
        for case in begun if long else ():
            case.request = at_length(case.application())
        playing = [load.begin(case, refused) for case in begun]
        try:
            await _until(stage, organs, lambda number: number >= (len(begun) if long else 1))
            yield
        finally:
            # Everything is given from the beginning: what was acknowledged unseen as well.
            honest = [
                Receiver("department", organ, clients[organ.id], load.given, load.told, from_sequence=1)
                for organ in organs
            ]
            listening = [asyncio.create_task(each.run()) for each in honest]
            try:
                await asyncio.wait(playing, timeout=END_SECONDS)
                await _until(stage, organs, lambda number: not number)
            finally:
                for task in listening:
                    task.cancel()
                await asyncio.gather(*listening, return_exceptions=True)
    if not all(task.done() for task in playing):
        raise NotInjected(f"cases of {', '.join(map(str, organs))} do not end afterwards")


def at_length(request: SubmitApplicationRequest) -> SubmitApplicationRequest:
    """With texts as long as they may be: its item has some 40 KB."""
    for value in request.form:
        if value.WhichOneof("value") == "text":
            value.text = LONGEST_TEXT
    place = Place(division=request.division, description=LONGEST_DESCRIPTION)
    request.places.extend([place] * (MOST_PLACES - len(request.places)))
    return request


async def _until(stage: Stage, parties: Sequence[Identity], holds: Callable[[int], bool]) -> None:
    """Return when it holds of the items that wait in these inboxes. Raises NotInjected."""
    try:
        async with asyncio.timeout(END_SECONDS):
            while not holds(await asyncio.to_thread(unacknowledged, stage, *parties)):  # noqa: ASYNC110 - from outside
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError as error:
        raise NotInjected(f"what is for {', '.join(map(str, parties))} does not come, or is not taken") from error


def unacknowledged(stage: Stage, *parties: Identity) -> int:
    """Items that wait in these inboxes."""
    receivers = ", ".join("?" * len(parties))
    query = f"SELECT count(*) AS number FROM inbox WHERE acknowledged_at IS NULL AND receiver IN ({receivers})"  # noqa: S608
    with opened(stage.mesh.source("department")) as select:
        return int(select(query, *map(str, parties))[0]["number"])
