"""Asking one subsystem or all of them, and naming a case by its number or its id."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from clients.cli.acting import SUBSYSTEMS, Acting
from clients.cli.errors import no_choice, note, sentence
from clients.errors import NotFound, RongheError
from clients.subsystem import SubsystemClient
from ronghe.case.v1 import case_pb2
from ronghe.case.v1.case_service_pb2 import GetCaseRequest, GetCaseTimelineRequest, TimelineEntry

T = TypeVar("T")


def subsystem_of(at: str | None) -> str | None:
    """The value of --at."""
    if at is not None and at not in SUBSYSTEMS:
        raise no_choice("--at", SUBSYSTEMS, at)
    return at


async def ask(acting: Acting, at: str | None, question: Callable[[SubsystemClient], Awaitable[T]]) -> Mapping[str, T]:
    """The answers of this subsystem, or of all, by subsystem.

    One that fails is noted, so that a part that is down does not hide the others. Raises RongheError when all fail.
    """
    one = subsystem_of(at)
    names = SUBSYSTEMS if one is None else (one,)
    found = await asyncio.gather(*(_ask(acting, name, question) for name in names))
    answers = {name: answer for name, answer in zip(names, found, strict=True) if not isinstance(answer, RongheError)}
    failures = {name: error for name, error in zip(names, found, strict=True) if isinstance(error, RongheError)}
    if not answers:
        # That a case is unknown is the least telling of several failures.
        raise min(failures.values(), key=lambda error: isinstance(error, NotFound))
    for name, error in failures.items():
        note(f"{name}: {sentence(error)}")
    return answers


async def _ask(acting: Acting, name: str, question: Callable[[SubsystemClient], Awaitable[T]]) -> T | RongheError:
    try:
        async with acting.subsystem(name, acting.reader) as client:
            return await question(client)
    except RongheError as error:
        return error


async def find_case(client: SubsystemClient, name: str) -> case_pb2.Case:
    """The case of this number or id. Raises RongheError: CASE_NOT_FOUND."""
    case_id = id_in(name)
    request = GetCaseRequest(case_id=case_id) if case_id else GetCaseRequest(case_no=name)
    return (await client.cases.get_case(request)).case


async def case_id_of(client: SubsystemClient, name: str) -> str:
    """The id of the case of this number or id; a number is looked up."""
    return id_in(name) or (await find_case(client, name)).case_id


async def timeline_of(client: SubsystemClient, case_id: str) -> Sequence[TimelineEntry]:
    """All events of a case, in the order in which this subsystem recorded them."""
    request, entries = GetCaseTimelineRequest(case_id=case_id), list[TimelineEntry]()
    while True:
        page = await client.cases.get_case_timeline(request)
        entries += page.entries
        request.after_position = page.next_position
        if not page.next_position:
            return entries


def id_in(name: str) -> str:
    """The case id, when it is one; "" for a number."""
    try:
        return str(UUID(name))
    except ValueError:
        return ""
