"""A case's timeline and where its events are, from a real journal and its inboxes."""

import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from bridge.ports import Arrived, Checkpoint
from bridge.record import Arrival, Record
from clients.identity import Identity
from clients.telemetry import SpanContext
from clients.telemetry.metrics import Metrics
from ronghe.access.v1.access_pb2 import Scope
from ronghe.case.v1 import case_service_pb2 as pb
from ronghe.event.v1 import event_pb2 as event
from ronghe.operations.v1 import operations_service_pb2 as operations
from servers.case.service import CaseServicer
from servers.case.views import CaseView
from servers.kernel.inbox import Acknowledgement
from servers.kernel.kernel import Kernel
from servers.kernel.subsystem import Subsystem
from servers.observed import observe_kernel
from servers.rpc.call import Call
from servers.rpc.paging import Pages
from tests.kernel.clock_test import BEFORE, SECOND, Machine
from tests.kernel.conftest import Start
from tests.kernel.drive import absorb, execute, foreign, rows, step
from tests.kernel.operator import door, told
from tests.kernel.toy import MIGRATIONS, Counter

CASE, OTHER = str(UUID(int=0xA11)), str(UUID(int=0xB22))
OWN, INBOX, KAFKA = Arrival.OWN, Arrival.INBOX, Arrival.KAFKA
DONE, WAITING, NOT_DUE = pb.EventLocation.RELAY_DONE, pb.EventLocation.RELAY_WAITING, pb.EventLocation.RELAY_NOT_DUE


class NamedCounter(Counter):
    """A counter whose state names its case."""

    def evolve(self, state: Any, record: Record, version: int) -> None:
        super().evolve(state, record, version)
        state.case.case_id = record.case_id


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
async def kernel(start: Start, machine: Machine) -> AsyncIterator[Kernel]:
    async with start(Subsystem("department-09", [NamedCounter()], MIGRATIONS), clock=machine) as running:
        yield running


def servicer(kernel: Kernel, *, publishes: bool = True) -> CaseServicer:
    return CaseServicer(kernel, CaseView(Counter.table, Counter.state), Pages(b"0" * 32), publishes=publishes)


def by(kind: str) -> Call:
    return Call(Identity(kind, "local"), Scope.SCOPE_ALL, "ronghe.case.v1.CaseService", math.inf, SpanContext(1, 2))


async def located(kernel: Kernel, kind: str = "operator", *, publishes: bool = True) -> pb.LocateCaseResponse:
    return await servicer(kernel, publishes=publishes).LocateCase(pb.LocateCaseRequest(case_id=CASE), by(kind))


def opened(case_id: str) -> Record:
    """What the applicant's side is not told."""
    return foreign(case_id, event.CollaborationOpened(occurred_at=Timestamp(seconds=1)), origin="governance-01")


async def journal(kernel: Kernel, machine: Machine, *taken: Record | Arrival) -> None:
    """Take in a row of the case for each, in this order and a second apart: by this way, or this very record."""
    for number, each in enumerate(taken):
        machine.passes(SECOND)
        if each is OWN:
            await execute(kernel, step(CASE, f"step {number}"))
        else:
            record = each if isinstance(each, Record) else foreign(CASE)._replace(arrival=each)
            await kernel.absorb([Arrived(record, f"{record.arrival.name.lower()}/{number}")], [])


def at(timestamp: Timestamp) -> float:
    """Seconds since the machine began."""
    return (timestamp.ToMicroseconds() - BEFORE.timestamp() * 1e6) / 1e6


# --- where its events are ---


@pytest.mark.parametrize(
    ("publishes", "relayed"),
    [(True, [DONE, NOT_DUE, DONE, WAITING, WAITING, NOT_DUE]), (False, [NOT_DUE] * 6)],
)
async def test_each_event_of_a_case_is_shown_with_how_it_came_and_whether_it_was_published(
    kernel: Kernel, machine: Machine, publishes: bool, relayed: Sequence[int]
) -> None:
    arrivals = [OWN, KAFKA, INBOX, OWN, INBOX, KAFKA]
    await journal(kernel, machine, foreign(OTHER), *arrivals)
    assert await kernel.advance([Checkpoint(4, "topic", 0, 1, "e")], 0, keep=False)
    found = await located(kernel, publishes=publishes)
    assert found.origin == "department-09"
    assert [(each.position, Arrival(each.arrival)) for each in found.events] == list(enumerate(arrivals, 2))
    assert [each.relay for each in found.events] == relayed
    assert [at(each.recorded_at) for each in found.events] == [2, 3, 4, 5, 6, 7]
    assert [(each.event_id, each.event_origin) for each in found.events] == [
        (row.event_id, "department-09" if row.arrival == OWN else "intake-01")
        for row in await rows(kernel)
        if row.case_id == CASE
    ]
    assert {each.type for each in found.events} == {"StepRecorded"}


async def test_each_event_of_a_case_is_shown_in_whose_inbox_it_is_since_when_and_acknowledged_when(
    kernel: Kernel, machine: Machine
) -> None:
    await journal(kernel, machine, foreign(OTHER), OWN, KAFKA)
    await kernel.open_session("organ/all", "session", epoch=0)
    machine.passes(10 * SECOND)
    await kernel.acknowledge(Acknowledgement("organ/all", "session", [1, 3], []))
    found = (await located(kernel)).events
    assert [
        [
            (
                each.receiver,
                each.sequence,
                at(each.since),
                each.HasField("acknowledged_at") and at(each.acknowledged_at),
            )
            for each in location.deliveries
        ]
        for location in found
    ] == [
        [("organ/0a11", 1, 2, False), ("organ/all", 2, 2, False)],
        [("organ/0a11", 2, 3, False), ("organ/all", 3, 3, 13)],
    ]


async def test_what_was_set_aside_is_counted_until_it_is_settled(
    kernel: Kernel, machine: Machine, tmp_path: Path
) -> None:
    metrics = Metrics("department-09", otlp=False)
    observe_kernel(metrics, kernel)

    async def parked() -> tuple[int, float]:
        return (await located(kernel)).parked, metrics.snapshot()["ronghe.parked"]

    await journal(kernel, machine, OWN)
    assert await parked() == (0, 0)
    await absorb(kernel, *(foreign(case_id, origin="liar-01") for case_id in (CASE, CASE, OTHER)))
    assert await parked() == (2, 3)
    request = told(operations.DiscardDeadLetterRequest, dead_letter_id=1)
    request.occurred_at.FromDatetime(machine.now())
    async with door(kernel, tmp_path) as desk, desk.open() as operator:
        await operator.discard_dead_letter(request)
    assert await parked() == (1, 2)
    metrics.close()


# --- its timeline ---


async def pages(kernel: Kernel, kind: str, size: int = 0) -> Sequence[Sequence[pb.TimelineEntry]]:
    """All of the timeline, each page from where the one before it ended."""
    request = pb.GetCaseTimelineRequest(case_id=CASE, page_size=size)
    found: list[Sequence[pb.TimelineEntry]] = []
    while not found or request.after_position:
        page = await servicer(kernel).GetCaseTimeline(request, by(kind))
        found.append(page.entries)
        request.after_position = page.next_position
    return found


async def test_a_timeline_tells_each_event_as_the_journal_has_it(kernel: Kernel, machine: Machine) -> None:
    told_of = foreign(CASE, version=7)._replace(causes=(str(uuid4()), str(uuid4())))
    unknown = foreign(CASE)._replace(type="ronghe.event.v1.NotYet", fact=None)
    await journal(kernel, machine, OWN, told_of, unknown)
    (own, other, later) = (await pages(kernel, "operator"))[0]
    assert (own.position, own.origin, own.type, at(own.recorded_at)) == (1, "department-09", "StepRecorded", 1)
    assert (other.position, other.event_id, other.origin) == (2, told_of.event_id, "intake-01")
    assert (other.stream, other.version, tuple(other.causes)) == (told_of.stream, 7, told_of.causes)
    assert (at(other.recorded_at), other.occurred_at) == (2, Timestamp(seconds=1))
    fact = event.StepRecorded()
    assert other.fact.Unpack(fact)
    assert fact.step.name == "far away"
    assert (later.type, later.HasField("fact"), later.HasField("occurred_at")) == ("NotYet", False, False)


@pytest.mark.parametrize(("kind", "shown"), [("terminal", [1, 4, 6, 8]), ("organ", [1, 2, 4, 5, 6, 8])])
async def test_a_timeline_that_is_resumed_repeats_nothing_and_leaves_out_only_what_is_hidden(
    kernel: Kernel, machine: Machine, kind: str, shown: Sequence[int]
) -> None:
    await journal(kernel, machine, OWN, opened(CASE), foreign(OTHER), KAFKA, opened(CASE), OWN, opened(OTHER), INBOX)
    for size in (0, 1, 2, 3, 4, 5):
        found = await pages(kernel, kind, size)
        assert [entry.position for page in found for entry in page] == shown
        assert {len(page) for page in found[:-1]} <= {size}
    assert [each.position for each in (await located(kernel, kind)).events] == shown
