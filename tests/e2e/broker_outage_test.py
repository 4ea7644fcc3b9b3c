import asyncio
import signal
import time
from collections.abc import Sequence

from clients.demo.plan import Desk
from ronghe.case.v1 import case_pb2
from tests.e2e.drive import SUBSYSTEMS, Counter, Mesh, assert_journals_are_whole, counter

OUTAGE_SECONDS = 20.0
LONGEST_ANSWER = 2.0


async def test_intake_accepts_and_departments_work_while_the_broker_stands_still(
    mesh: Mesh, desks: Sequence[Desk]
) -> None:
    async with counter(mesh, desks[0]) as here:
        delivered = [(await here.submit()).case_id for _ in range(3)]
        for case_id in delivered:
            await here.delivered(case_id)

        mesh.signal("kafka", signal.SIGSTOP)
        try:
            submitted = await _work(here, delivered)
        finally:
            mesh.signal("kafka", signal.SIGCONT)

        for case_id in delivered:
            await here.at_intake(case_id, case_pb2.STATE_CLOSED)
        for case_id in submitted:
            await here.delivered(case_id)
        await here.finish(submitted[-1])

    for case_id in submitted[:-1]:
        assert [mesh.recorded(name, case_id) for name in SUBSYSTEMS] == [["Submitted"]] * 3
    for case_id in (*delivered, submitted[-1]):
        for name in SUBSYSTEMS:
            assert sorted(mesh.recorded(name, case_id)) == ["Accepted", "Closed", "Decided", "Submitted"]
    await assert_journals_are_whole(mesh)


async def _work(here: Counter, delivered: Sequence[str]) -> list[str]:
    """Submit all the time; the organ acts at the beginning, in the middle and at the end."""
    submitted, started, act_at = [], time.monotonic(), 0.0
    waiting = list(delivered)
    while (elapsed := time.monotonic() - started) < OUTAGE_SECONDS:
        async with asyncio.timeout(LONGEST_ANSWER):
            submitted.append((await here.submit()).case_id)
        if elapsed >= act_at:
            case_id, act_at = waiting.pop(0), act_at + OUTAGE_SECONDS / len(delivered)
            async with asyncio.timeout(3 * LONGEST_ANSWER):
                await here.accept(case_id)
                await here.deny(case_id)
        await asyncio.sleep(0.2)
    assert not waiting
    return submitted
