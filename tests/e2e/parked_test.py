"""Garbage and lies on the topic of a real mesh: they stop their own case only, and an operator lets it go on."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer

from clients.demo.plan import Desk
from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.event.v1 import event_pb2 as event
from tests.e2e.drive import Mesh, assert_journals_are_whole, counter, until
from tests.e2e.topic import TOPIC, access, header, read_topic

RONGHE = Path(sys.executable).parent / "ronghe"
DEPARTMENT = Identity("service", "department-01")
SIGNED = ("--officer", "0042:王敏", "--reason", "按值班手册处理")


async def ronghe(mesh: Mesh, *arguments: str, status: int = 0) -> str:
    """What the command prints; it must end with this status."""
    command = [str(RONGHE), "--data", str(mesh.data), *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    return done.stdout or done.stderr


async def letters(mesh: Mesh, case_id: str) -> Sequence[dict[str, Any]]:
    """What waits of a case at the center."""
    printed = await ronghe(mesh, "dead-letters", "list", "--at", "governance", "--case", case_id, "--json")
    return json.loads(printed)["governance"].get("dead_letters", [])  # type: ignore[no-any-return]


def produce(mesh: Mesh, case_id: str, fact: Any, *, source: str = "department-01", value: bytes | None = None) -> None:
    """A message in the name of a deployment, as only a holder of a service certificate can write it."""
    headers = {
        "content-type": "application/protobuf",
        "ce_specversion": "1.0",
        "ce_id": str(uuid4()),
        "ce_source": source,
        "ce_type": fact.DESCRIPTOR.full_name,
        "ce_time": datetime.now(UTC).isoformat(),
        "ce_subject": f"organ_case/nobody/{case_id}",
        "ce_streamversion": "2",
    }
    errors: list[Any] = []
    writer = Producer(access(mesh, DEPARTMENT))
    writer.produce(
        TOPIC,
        fact.SerializeToString() if value is None else value,
        key=case_id,
        headers=headers,
        on_delivery=lambda error, message: errors.append(error),
    )
    writer.flush(10)
    assert errors == [None]


def decided() -> event.Decided:
    fact = event.Decided()
    fact.occurred_at.GetCurrentTime()
    return fact


def published(mesh: Mesh, case_id: str) -> list[str]:
    """Ids of a case's events on the topic, repeats included."""
    return sorted(header(message, "ce_id") for message in read_topic(mesh) if message.key() == case_id.encode())


async def acts(mesh: Mesh) -> list[Any]:
    """What operators did at governance, all tests of the session together."""
    return list(json.loads(await ronghe(mesh, "acts", "--at", "governance", "--json"))["governance"].get("acts", []))


async def test_garbage_and_lies_stop_only_their_own_case_and_a_redrive_completes_it(
    mesh: Mesh, desks: Sequence[Desk]
) -> None:
    before = await acts(mesh)
    async with counter(mesh, desks[0]) as here, here.listening():
        torn, lied, well = [(await here.submit()).case_id for _ in range(3)]
        for case_id in (torn, lied, well):
            await here.delivered(case_id)
        produce(mesh, torn, event.StepRecorded(), value=b"\xff\xff garbage")
        produce(mesh, lied, decided(), source="department-77")

        async def are_set_aside() -> bool:
            return bool(await letters(mesh, torn)) and bool(await letters(mesh, lied))

        await until(are_set_aside, "both are set aside")
        for case_id in (torn, lied):
            await here.accept(case_id)
            await here.deny(case_id)
        await here.finish(well)

        async def wait_in_line() -> bool:
            return [len(await letters(mesh, case_id)) for case_id in (torn, lied)] == [4, 4]

        await until(wait_in_line, "what followed waits behind")
        assert mesh.recorded("intake", torn) == mesh.recorded("intake", lied) == ["Submitted"]
        found = json.loads(await ronghe(mesh, "doctor", "--json", status=2))
        failed = {line["found"].split()[0]: line["command"] for line in found if line["level"] == "fail"}
        assert failed.keys() == {torn, lied}

        for case_id in (torn, lied):
            name = f"governance/{(await letters(mesh, case_id))[0]['dead_letter_id']}"
            assert failed[case_id] == f"ronghe dead-letters show {name}"
            assert case_id in await ronghe(mesh, "dead-letters", "show", name)
            refusal = await ronghe(mesh, "dead-letters", "redrive", name, *SIGNED, status=1)
            assert refusal.startswith("REDRIVE_FAILED: dead letter")
            assert len(await letters(mesh, case_id)) == 4
            await ronghe(mesh, "dead-letters", "discard", name, *SIGNED)
            behind = f"governance/{(await letters(mesh, case_id))[0]['dead_letter_id']}"
            assert "3 taken in" in await ronghe(mesh, "dead-letters", "redrive", behind, *SIGNED)
            await here.at_intake(case_id, case_pb2.STATE_CLOSED)
            assert mesh.recorded("intake", case_id) == ["Submitted", "Accepted", "Decided", "Closed"]
            assert await letters(mesh, case_id) == []
    assert len(await acts(mesh)) == len(before) + 6
    await assert_journals_are_whole(mesh)


async def test_a_paused_bridge_holds_events_back_and_loses_none(mesh: Mesh, desks: Sequence[Desk]) -> None:
    async with counter(mesh, desks[1]) as here, here.listening():
        await ronghe(mesh, "bridge", "pause", "governance/inbox-source", *SIGNED)
        assert "inbox-source" in await ronghe(mesh, "bridge", "status", "--at", "governance")

        async def stands_still() -> bool:
            status = json.loads(await ronghe(mesh, "bridge", "status", "--at", "governance", "--json"))
            return not status["governance"]["sources"][0].get("connected")

        await until(stands_still, "the source stands still")
        case_id = (await here.submit()).case_id
        await asyncio.sleep(1)  # long enough for a case that is not held back
        assert mesh.recorded("governance", case_id) == []
        await ronghe(mesh, "bridge", "resume", "governance/inbox-source", *SIGNED)
        await here.finish(case_id)


async def test_what_is_published_again_has_no_effect_twice(mesh: Mesh, desks: Sequence[Desk]) -> None:
    async with counter(mesh, desks[2]) as here, here.listening():
        case_id = (await here.submit()).case_id
        await here.finish(case_id)
        before = published(mesh, case_id)
        for name in ("governance", "department"):
            await ronghe(mesh, "bridge", "republish", name, "--position", "1", *SIGNED)
        await until(lambda: published(mesh, case_id) == sorted(2 * before), "everything is on the topic twice")
        await here.finish((await here.submit()).case_id)
    for name in ("governance", "department"):
        ((rows, ids),) = mesh.rows(name, "SELECT count(*), count(DISTINCT event_id) FROM journal")
        assert rows == ids
    assert mesh.recorded("intake", case_id) == ["Submitted", "Accepted", "Decided", "Closed"]
    await assert_journals_are_whole(mesh)
