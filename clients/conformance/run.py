"""One run of the suite: the front, the cases, the takeover at the end, and the verdicts."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from clients.conformance import acting, receiving
from clients.conformance.desk import Desk
from clients.conformance.errors import CannotPlay
from clients.conformance.front import front
from clients.conformance.judge import Verdict, judge
from clients.conformance.parties import Parties
from clients.conformance.places import Places, find_places
from clients.conformance.program import Program
from clients.conformance.scenes import Scene, Script
from clients.conformance.seen import Seen
from clients.conformance.waiting import until
from clients.conformance.wire import Wires
from clients.credentials import Credentials
from clients.department import DepartmentClient
from clients.identity import Identity
from clients.intake import IntakeClient
from ronghe.inbox.v1.inbox_service_pb2 import FetchInboxRequest

CHECKS = (*receiving.CHECKS, *acting.CHECKS)
TERMINAL = Identity("terminal", "yukuaiban")
# Seconds without a word of the program, when all is done that can be waited for.
QUIET = 2.0
# Seconds during which a program that was taken over must stay away.
AWAY = 3.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What is examined, and how."""

    organ: Identity
    scenes: Sequence[Scene]
    seconds: float
    """For the program to come, and again for it to be done."""
    port: int = 0
    command: Sequence[str] = ()
    """How to start the program, with `{address}` for where it shall connect; empty where somebody else starts it."""


async def examine(
    addresses: Mapping[str, str], pki: Path, trial: Trial, announce: Callable[[str], None]
) -> Sequence[Verdict]:
    """Play the scenes to the program and judge it. `announce` is told the address at which the program is expected.

    Raises CredentialsError, CannotPlay, RongheError.
    """
    script, seen = Script(), Seen()
    program = Program(trial.command, seen)
    desk = Desk(script, seen, program.kill)
    wires = Wires(addresses["department"], pki)
    async with _terminal(addresses, pki) as terminal:
        places = await find_places(terminal, trial.organ.id)
        async with front(desk, Credentials.load(pki, trial.organ), wires, trial.port) as address:
            announce(address)
            async with program.running(address), _asking(addresses, pki, places) as asking:
                await _come(seen, address, trial.seconds)
                await _play(desk, Parties(desk, places, terminal, asking), trial)
                program.stays_down = True
                await _take_over(seen, addresses, pki, trial.organ)
    return judge(CHECKS, seen)


def _terminal(addresses: Mapping[str, str], pki: Path) -> IntakeClient:
    return IntakeClient(addresses["intake"], pki, TERMINAL)


def _asking(addresses: Mapping[str, str], pki: Path, places: Places) -> DepartmentClient:
    lead = places.other or places.own
    return DepartmentClient(addresses["department"], pki, Identity("organ", lead.organ.id))


async def _come(seen: Seen, address: str, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await until(lambda: bool(seen.openings))
    except TimeoutError:
        raise CannotPlay(f"no program opened its inbox at {address} within {seconds:.0f} s") from None


async def _play(desk: Desk, parties: Parties, trial: Trial) -> None:
    """Return when the program has done what it can, or its time has passed."""
    async with _noticing(parties):
        try:
            async with asyncio.timeout(trial.seconds):
                await parties.play(trial.scenes)
                await until(lambda: _is_done(desk))
        except TimeoutError:
            return  # what is missing is for the checks to say


@asynccontextmanager
async def _noticing(parties: Parties) -> AsyncIterator[None]:
    task = asyncio.ensure_future(parties.answer_notices())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _is_done(desk: Desk) -> bool:
    seen = desk.seen
    return (
        all(_is_handled(seen, case_id, scene) for case_id, scene in seen.cases.items())
        and not seen.unacknowledged()
        and seen.is_open
        and not desk.script.is_closed
        and time.monotonic() - seen.latest > QUIET
    )


def _is_handled(seen: Seen, case_id: str, scene: Scene) -> bool:
    if scene in (Scene.ASKED, Scene.WITHDRAWN):
        return True
    if any(seen.is_put_off(given.sequence) for given in seen.givings(case_id)):
        return True
    done = [call for call in seen.commands(case_id) if call.took_effect]
    notices = {call.request_id for call in done if call.method == "RequestCorrection"}
    supplements = {given.sequence for given in seen.givings(case_id, "Supplemented")}
    return bool(done) and len(supplements) >= len(notices)


async def _take_over(seen: Seen, addresses: Mapping[str, str], pki: Path, organ: Identity) -> None:
    """Another session of the organ, at the real server."""
    if seen.is_open:
        async with DepartmentClient(addresses["department"], pki, organ) as other:
            await other.fetch_inbox(FetchInboxRequest(limit=1))
        await asyncio.sleep(AWAY)
    seen.until = time.monotonic()
