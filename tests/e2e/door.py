"""What stands behind the door for those who call badly: records of every kind, and whether a call changed anything."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from clients.channel import open_channel
from clients.credentials import Credentials
from clients.errors import RongheError, error_of
from clients.identity import Identity
from clients.stream import Stream
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.collaboration.v1.collaboration_pb2 import Task
from ronghe.intake.v1 import intake_service_pb2 as intake
from tests import builders
from tests.e2e.collaborating import HERE, LEAD, POLICE, Table, now, seated
from tests.e2e.drive import SUBSYSTEMS, TERMINAL, Mesh, until

ORGAN = Identity("organ", LEAD)
OTHER_ORGAN = Identity("organ", "fire-500103")
ASKED = Identity("organ", POLICE)
CENTER = Identity("center", "500103")
OTHER_CENTER = Identity("center", "500107")
PARTIES = (
    *(ORGAN, OTHER_ORGAN, ASKED, CENTER, OTHER_CENTER),
    *(Identity(kind, "elsewhere") for kind in ("service", "terminal", "intake")),
)
SUBMIT = "ronghe.intake.v1.IntakeService/SubmitApplication"
NOBODY = "01a208bc-0000-7000-8000-000000000000"
"""The id of nothing."""

# What a caller never gets to see, whatever it sends.
OURS = (StatusCode.INTERNAL, StatusCode.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Records:
    """Cases of one lead, each in another state, and what hangs on them."""

    submitted: str
    submitted_no: str
    voucher: str
    query_code: str
    noticed: str
    """Accepted, with a correction notice open."""
    notice: str
    asking: str
    """Accepted, with a collaboration open."""
    collaboration: str
    event_no: str
    task: str
    """Signed for by the police."""
    held: str
    """A collaboration whose task waits for an officer of the center."""
    closed: str


async def make_records(mesh: Mesh) -> Records:
    """Make them, and return when everything has come to rest."""
    async with seated(mesh) as table:
        terminal, lead = await table.terminal(), await table.organ(LEAD)
        voucher = await terminal.submit_application(builders.submission(now()))
        await until(lambda: _sees(table, voucher.case_id), "the lead sees the case")
        noticed = await table.accepted(HERE)
        notice = (await lead.request_correction(builders.correction(noticed, now()))).notice.number
        asking = await table.accepted(HERE)
        collaboration = await table.ask(asking, "traffic-police")
        task = await table.task(POLICE, collaboration)
        police = await table.organ(POLICE)
        await police.collaborations.sign_for_task(builders.signing(task.task_id, now()))
        held = await table.ask(noticed, "traffic-police")
        waiting = (await table.task(POLICE, held)).task_id
        officer = await table.at_governance(CENTER)
        await officer.route_collaboration(builders.routing(held, waiting, now(), center_id=CENTER.id))
        closed = await table.submitted(builders.submission(now()))
        await lead.refuse_acceptance(builders.refusal(closed, now()))
        await table.at_intake(noticed, case_pb2.STATE_ACCEPTED)
        await table.at_intake(closed, case_pb2.STATE_CLOSED)
        await table.task_is_in(POLICE, collaboration, Task.STATE_SIGNED)
        event_no = (await table.collaboration(collaboration)).event_no
    await at_rest(mesh)
    return Records(
        voucher.case_id, voucher.case_no, voucher.voucher.number, voucher.query_code,
        noticed, notice, asking, collaboration, event_no, task.task_id, held, closed,
    )  # fmt: skip


async def _sees(table: Table, case_id: str) -> bool:
    try:
        return bool((await table.case(case_id)).case_id)
    except RongheError:
        return False


def heads(mesh: Mesh) -> Mapping[str, Sequence[int]]:
    """Of each subsystem: rows of its journal, requests that it remembers, what it has set aside, what was acknowledged.

    But for the heads that journals sign: a minute may end at any time.
    """
    signed = "SELECT position FROM journal WHERE type = 'ronghe.event.v1.JournalHead'"
    statement = (
        f"SELECT (SELECT count(*) FROM journal WHERE position NOT IN ({signed})),"  # noqa: S608 - ours
        " (SELECT count(*) FROM request), (SELECT count(*) FROM dead_letter),"
        f" (SELECT count(*) FROM inbox WHERE acknowledged_at IS NOT NULL AND position NOT IN ({signed}))"
    )
    return {name: mesh.rows(name, statement)[0] for name in SUBSYSTEMS}


async def at_rest(mesh: Mesh, looks: int = 10) -> None:
    """Return when nothing has changed anywhere for some looks in a row."""
    seen: list[Mapping[str, Sequence[int]]] = []

    def is_still() -> bool:
        seen.append(heads(mesh))
        return len(seen) >= looks and all(one == seen[-1] for one in seen[-looks:])

    await until(is_still, "everything is at rest")


async def refused(mesh: Mesh, call: Callable[[], Awaitable[object]]) -> RongheError:
    """The error of a call that changes nothing, and that is no fault of ours."""
    before = heads(mesh)
    with pytest.raises(RongheError) as failed:
        await call()
    error = failed.value
    assert error.code not in OURS, error
    assert heads(mesh) == before, error
    return error


# --- any call, as it stands on the wire ---


@dataclass(eq=False)
class Door:
    """One party at one subsystem: every method by its name, with any bytes; nothing is repeated."""

    channel: grpc.aio.Channel

    async def unary(self, method: str, body: bytes, **options: Any) -> bytes:
        """The answer's bytes; raises RongheError."""
        options.setdefault("timeout", 10)
        try:
            call: Any = self.channel.unary_unary(f"/{method}")
            answer: bytes = await call(body, **options)
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from failure
        return answer

    def stream(self, method: str) -> Stream[bytes, bytes]:
        """A stream both ways."""
        return Stream(self.channel.stream_stream(f"/{method}")())


@asynccontextmanager
async def knocking(mesh: Mesh, subsystem: str, identity: Identity) -> AsyncIterator[Door]:
    """A party at the door, with a channel of its own."""
    async with open_channel(mesh.addresses[subsystem], Credentials.load(mesh.pki, identity)) as channel:
        yield Door(channel)


async def has_one_effect(mesh: Mesh, door: Door, request: intake.SubmitApplicationRequest) -> None:
    """Said again, and again, it is one case."""
    answers = {await door.unary(SUBMIT, request.SerializeToString()) for _ in range(2)}
    (answer,) = answers
    case_id = intake.SubmitApplicationResponse.FromString(answer).case_id
    assert mesh.recorded("intake", case_id)[0] == "Submitted"
    requests = "SELECT count(*) FROM request JOIN journal ON event_id = key WHERE case_id = ?"
    assert mesh.rows("intake", requests, case_id) == [(1,)]


async def serves(mesh: Mesh) -> None:
    """Another caller gets his answer as ever."""
    async with knocking(mesh, "intake", TERMINAL) as door:
        await door.unary(
            "ronghe.case.v1.CaseService/ListCases", cases.ListCasesRequest().SerializeToString(), timeout=5
        )
