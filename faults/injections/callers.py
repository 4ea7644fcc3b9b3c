"""Callers that vanish in the middle of a bulk stream."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from clients.base import completed
from clients.channel import open_channel
from clients.credentials import Credentials
from faults.checker.journals import opened
from faults.checker.marks import mark_of, marks_in
from faults.injections.stage import Injection, NotInjected, Stage
from faults.load.caller import marked
from faults.load.case import Case
from faults.load.cast import DESKS, TERMINAL
from faults.load.courses import denied, granted, refused
from faults.proxy import proxies
from ronghe.intake.v1 import intake_service_pb2 as intake

SUBMIT_MANY = "/ronghe.intake.v1.IntakeService/SubmitApplications"
VANISHING_SECONDS = (0.05, 0.5)
"""At most until a caller vanishes: on any machine some of what he has sent is done by then, and some is not."""


def vanishing(streams: int, requests: int) -> Injection:
    """Bulk streams whose callers are gone in the middle; what they have sent is asked for again, by its ids."""

    async def inject(stage: Stage) -> None:
        chance, load, had = Random(stage.chance.random()), stage.load, 0
        for _ in range(streams):
            cases = [Case(next(load.extra), chance.choice(DESKS), load.cast) for _ in range(requests)]
            asked = [marked(completed(case.application())) for case in cases]
            for case, request in zip(cases, asked, strict=True):
                case.request = request
                await load.cast.caller.note(TERMINAL, request)
            before = await asyncio.to_thread(_last_position, stage.mesh.source("intake"))
            await _vanish(stage, asked, chance)
            had += await asyncio.to_thread(effects, stage.mesh.source("intake"), before, asked)
            for case in cases:
                load.begin(case, chance.choice((granted, denied, refused)))
        stage.figures |= {"requests of callers that vanished": streams * requests, "of them done before": had}
        if wrong := not_amid(had, streams * requests):
            raise NotInjected(wrong)

    return inject


def not_amid(had: int, asked: int) -> str:
    """What is wrong where nobody vanished in the middle; empty where some did."""
    return "" if 0 < had < asked else f"of {asked} requests {had} were done when their callers vanished"


def _last_position(database: Path | str) -> int:
    with opened(database) as select:
        return int(select("SELECT position FROM journal_head")[0]["position"])


def effects(database: Path | str, position: int, asked: Sequence[intake.SubmitApplicationRequest]) -> int:
    """How many of these requests have had their effect, behind a position of this journal."""
    with opened(database) as select:
        rows = select("SELECT body FROM journal WHERE position > ?", position)
    done = {mark for row in rows for mark in marks_in(bytes(row["body"]))}
    return len(done & {mark_of(each.request_id) for each in asked})


async def _vanish(stage: Stage, asked: Sequence[intake.SubmitApplicationRequest], chance: Random) -> None:
    """Send them all; the connection is reset a moment later."""
    target = {"intake": stage.mesh.addresses["intake"]}
    async with proxies(target, chance) as found:
        credentials = Credentials.load(stage.mesh.data / "pki", TERMINAL)
        async with open_channel(found["intake"].address, credentials) as channel:
            method: Any = channel.stream_stream(SUBMIT_MANY, intake.SubmitApplicationsRequest.SerializeToString)
            call = method()
            for request in asked:
                await call.write(intake.SubmitApplicationsRequest(applications=[request]))
            await asyncio.sleep(chance.uniform(0, chance.choice(VANISHING_SECONDS)))
            found["intake"].reset()
            call.cancel()
