"""In which order the streams of one database see facts: a cause before its effects, as the journal has it."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from bridge.record import Record
from ronghe.case.v1 import case_pb2
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from ronghe.state.v1.state_pb2 import OrganCaseState
from servers.kernel.stream import Refused, Scope, StreamKey
from servers.kernel.subsystem import Subsystem
from tests.kernel.conftest import Start
from tests.kernel.drive import absorb, execute, foreign, new_case, rows, step
from tests.kernel.toy import MIGRATIONS, Counter, Shadow


class Echo(Counter):
    """Says two steps of its own after a step from elsewhere; the shadow, which takes steps too, comes behind it."""

    def react(self, state: Any, record: Record, scope: Scope) -> Sequence[Message]:
        if getattr(record.fact, "step", None) != case_pb2.Step(name="call"):
            return []
        return [said("echo"), said("echo of the echo")]


class Unnamed(Echo):
    """Its commands name no case, as those to a task do not: the stream that is there knows it."""

    def target(self, command: Any, scope: Scope) -> StreamKey:
        return StreamKey(self.kind, command.case_id)

    def decide(self, state: Any, command: Any, scope: Scope) -> Sequence[Message]:
        if not state.case.version:
            raise Refused(Reason.REASON_CASE_NOT_FOUND, "there is none")
        return super().decide(state, command, scope)


def said(name: str) -> event.StepRecorded:
    return event.StepRecorded(occurred_at=Timestamp(seconds=1), step=case_pb2.Step(name=name))


def subsystem(counter: type[Counter] = Echo) -> Subsystem:
    return Subsystem("department-09", [counter(), Shadow()], MIGRATIONS)


async def steps_of(kernel: Any, stream: type[Counter]) -> list[str]:
    """The steps in a stored state, in the order in which the stream took them in."""
    (row,) = await rows(kernel, stream.table)
    return [one.name for one in OrganCaseState.FromString(row.snapshot).case.steps]


async def test_every_stream_sees_a_cause_before_its_effects(start: Start) -> None:
    case = new_case()
    async with start(subsystem()) as kernel:
        await absorb(kernel, foreign(case, said("call")))
        journal = await rows(kernel)
        heard = [await steps_of(kernel, stream) for stream in (Counter, Shadow)]
    taken = [event.StepRecorded.FromString(row.body).step.name for row in journal if row.type.endswith("StepRecorded")]
    assert heard == [taken] * 2 == [["call", "echo", "echo of the echo"]] * 2
    positions = {row.event_id: row.position for row in journal}
    for row in journal:
        assert all(positions[cause] < row.position for cause in row.causes.split(",") if cause)


@pytest.mark.parametrize("stream", [Counter, Shadow])
async def test_the_journal_gives_the_state_again(
    start: Start, monkeypatch: pytest.MonkeyPatch, stream: type[Counter]
) -> None:
    case = new_case()
    async with start(subsystem()) as kernel:
        await absorb(kernel, foreign(case, said("call")), foreign(case, said("call")))
        (before,) = await rows(kernel, stream.table)
        await kernel.write(lambda connection: connection.execute(stream.table.update().values(snapshot=b"", version=0)))
    monkeypatch.setattr(stream, "fold_version", 2)
    async with start(subsystem()) as kernel:
        await execute(kernel, step(case, "look"))
        (after,) = await rows(kernel, stream.table)
        assert (await steps_of(kernel, stream))[:-1] == [
            one.name for one in OrganCaseState.FromString(before.snapshot).case.steps
        ]
    # The shadow says something of its own behind each step that it takes.
    assert after.version == before.version + (2 if stream is Shadow else 1)


async def test_a_command_that_comes_before_its_stream_does_not_cut_it_from_its_case(start: Start) -> None:
    """Whoever asks for a stream that is not there yet, in the transaction that opens it, is refused, and no more."""
    case = new_case()
    async with start(subsystem(Unnamed)) as kernel:
        both_wait = threading.Event()
        busy = asyncio.create_task(kernel.write(lambda connection: both_wait.wait(10)))
        await asyncio.sleep(0.1)  # the writer is in a transaction: what comes now shares the next one
        waiting = asyncio.gather(
            execute(kernel, step(case)), absorb(kernel, foreign(case, said("call"))), return_exceptions=True
        )
        await asyncio.sleep(0)
        both_wait.set()
        early, _ = await waiting
        await busy
        assert isinstance(early, Refused)
        await execute(kernel, step(case))
        assert {row.case_id for row in await rows(kernel)} == {case}
        assert {row.case_id for row in await rows(kernel, Counter.table)} == {case}
