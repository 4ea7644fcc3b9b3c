"""A subsystem's database is lost and put back from a backup that is older: nothing that was acknowledged is missing."""

import asyncio
import json
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import pytest

from clients.base import completed
from clients.demo.plan import Desk, Ending
from clients.demo.run import find_desks
from clients.demo.story import OFFICER
from ronghe.case.v1 import case_pb2
from ronghe.department.v1 import department_service_pb2 as department
from tests.e2e.drive import (
    SUBSYSTEMS,
    Mesh,
    all_acknowledged,
    assert_journals_are_whole,
    assert_nothing_doubled,
    counter,
    play,
    running_mesh,
    stories,
)
from tests.e2e.parked_test import ronghe

CASES = 8


def _acceptance(case_id: str) -> department.AcceptApplicationRequest:
    alone = department.AcceptApplicationRequest.NoCollaboration(reason="无需其他部门协同")
    return department.AcceptApplicationRequest(case_id=case_id, actor=OFFICER, none=alone)


async def desks_of(mesh: Mesh) -> Sequence[Desk]:
    async with mesh.intake() as terminal:
        return await find_desks(terminal)


async def assert_heads_are_exchanged(mesh: Mesh) -> None:
    """Everybody comes to hold every head that anybody has signed."""
    statement = "SELECT event_id FROM journal WHERE type = 'ronghe.event.v1.JournalHead'"
    async with asyncio.timeout(20):
        while True:
            held = [set(mesh.rows(name, statement)) for name in SUBSYSTEMS]
            if held[0] and held[0] == held[1] == held[2]:
                break
            await asyncio.sleep(0.1)
    signers = mesh.rows("intake", statement.replace("event_id", "DISTINCT origin"))
    assert {origin for (origin,) in signers} == {f"{name}-01" for name in SUBSYSTEMS}


def case_numbers(mesh: Mesh) -> list[str]:
    return [number for (number,) in mesh.rows("intake", "SELECT case_no FROM stream_application")]


@pytest.mark.timeout(300)  # two meshes, one after the other
@pytest.mark.parametrize("name", ["intake", "governance", "department"])
async def test_what_came_after_the_backup_is_learned_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RONGHE_HEAD_SECONDS", "1")
    data, backup = tmp_path / "mesh", tmp_path / "backup"
    endings = [ending for ending in Ending if ending is not Ending.WITHDRAWAL_DECLINED]
    with running_mesh(data) as mesh:
        desks = await desks_of(mesh)
        before = stories(desks, islice(cycle(endings), CASES))
        await play(mesh, before)
        await ronghe(mesh, "backup", str(backup))
        after = stories(desks, islice(cycle(endings), CASES))
        await play(mesh, after)
        async with counter(mesh, desks[0]) as here, here.listening():
            waiting, application = (await here.submit()).case_id, here.application()
            voucher = await here.terminal.submit_application(application)
            accepted = voucher.case_id
            for case_id in (waiting, accepted):
                await here.delivered(case_id)
            acceptance = completed(_acceptance(accepted))
            receipt = await here.organ.accept_application(acceptance)
            await here.at_intake(accepted, case_pb2.STATE_ACCEPTED)
        numbers = case_numbers(mesh)
        assert "a mesh runs on" in await ronghe(mesh, "restore", str(backup), "--only", name, status=1)
    for path in (data / "db").glob(f"{name}.db*"):
        path.unlink()
    restored = json.loads(await ronghe(mesh, "restore", str(backup), "--only", name, "--json"))
    assert (restored.keys(), restored[name]["epoch"]) == ({name}, 2)

    with running_mesh(data) as mesh:
        async with counter(mesh, desks[0]) as here, here.listening():
            for case_id in (waiting, accepted):
                await here.delivered(case_id)
            assert await here.terminal.submit_application(application) == voucher
            assert await here.organ.accept_application(acceptance) == receipt
            await here.accept(waiting)
            for case_id in (waiting, accepted):
                await here.deny(case_id)
                await here.at_intake(case_id, case_pb2.STATE_CLOSED)
        for story in (*before[:1], *after[:1]):
            await all_acknowledged(mesh, story)
        assert_nothing_doubled(mesh, [*before, *after])
        await assert_journals_are_whole(mesh)
        more = stories(desks, endings)
        await play(mesh, more)
        assert_nothing_doubled(mesh, more)
        assert sorted(set(case_numbers(mesh))) == sorted(case_numbers(mesh))
        assert set(numbers) <= set(case_numbers(mesh))
        assert mesh.rows(name, "SELECT count(*) FROM dead_letter") == [(0,)]
        await assert_heads_are_exchanged(mesh)
        found = json.loads(await ronghe(mesh, "journal", "verify", "--json"))
        assert {each: len(journal.get("restored", [])) for each, journal in found.items()} == {
            each: int(each == name) for each in SUBSYSTEMS
        }
        ((relearned,),) = mesh.rows(name, "SELECT value FROM cursor WHERE name = 'relearned'")
        learned = json.loads(relearned)
        assert learned["own"] + learned["foreign"] > 0
        assert (learned["requests"] > 0) == (name != "governance")  # nobody asked the center for anything
