import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from uuid import uuid4

import pytest

from clients.base import calls_under
from clients.demo.plan import Desk, Ending
from clients.demo.story import Story
from clients.telemetry import SpanContext, event_span_id, hop_span_id, trace_id
from clients.telemetry.spans import Span
from clients.telemetry.store import read_trace
from clients.telemetry.tree import faults
from ronghe.case.v1 import case_pb2
from ronghe.operations.v1.operations_service_pb2 import GetBridgeStatusRequest
from tests.e2e.drive import OPERATOR, Mesh, all_acknowledged, counter, planned, play, stories, until

EVENT, TOPIC = "ronghe.event.v1.", "ronghe.cases.v1"
HUMAN_SECONDS = 2.0


@pytest.mark.parametrize("ending", Ending, ids=lambda ending: ending.name.lower())
async def test_the_trace_of_a_finished_case_is_one_tree_with_every_hop(
    mesh: Mesh, desks: Sequence[Desk], ending: Ending
) -> None:
    told = stories(desks, [ending])
    await play(mesh, told)
    await all_acknowledged(mesh, told[0])

    spans = await _trace(mesh, told[0].case_id, _planned_spans(told[0]))

    (root,) = [span for span in spans if span.parent is None]
    assert root.name == f"{EVENT}Submitted"
    events = {span.name.removeprefix(EVENT): span for span in spans if span.name.startswith(EVENT)}
    assert sorted(events) == planned(told[0])
    for name, event in events.items():
        assert sorted(_hops(spans, event)) == sorted(_planned_hops(name)), name


async def test_spans_stand_for_the_events_of_the_journal(mesh: Mesh, desks: Sequence[Desk]) -> None:
    told = stories(desks, [Ending.CORRECTED])
    await play(mesh, told)

    spans = {span.context.span_id: span for span in await _trace(mesh, told[0].case_id, _planned_spans(told[0]))}

    rows = mesh.rows("governance", "SELECT event_id, type, causes FROM journal WHERE case_id = ?", told[0].case_id)
    for event_id, kind, causes in rows:
        span = spans[event_span_id(event_id)]
        assert span.name == kind
        parents = [event_span_id(cause) for cause in causes.split(",") if cause]
        assert span.parent == (parents[0] if parents else None)


async def test_every_span_has_its_kind_and_what_it_is_found_by(mesh: Mesh, desks: Sequence[Desk]) -> None:
    """As docs/tracing.md has it."""
    told = stories(desks, [Ending.GRANTED])
    await play(mesh, told)
    await all_acknowledged(mesh, told[0])
    case_id = told[0].case_id

    spans = await _trace(mesh, case_id, _planned_spans(told[0]))

    place = {"messaging.destination.partition.id", "messaging.kafka.offset", "messaging.message.id"}
    groups = {"department-01", "governance-01"}
    for span in spans:
        attributes = dict(span.attributes)
        match span.name.split(" ")[0]:
            case "send" | "process" as operation:
                event_id = str(attributes["messaging.message.id"])
                assert span.parent in (event_span_id(event_id), hop_span_id(event_id, "send"))
                assert span.kind == ("producer" if operation == "send" else "consumer")
                assert (attributes.pop("messaging.consumer.group.name", None) in groups) == (operation == "process")
                assert {name: value for name, value in attributes.items() if name not in place} == {
                    "messaging.system": "kafka",
                    "messaging.operation.name": operation,
                    "messaging.operation.type": operation,
                    "messaging.destination.name": TOPIC,
                    "messaging.message.conversation_id": case_id,
                }
                assert place <= attributes.keys()
            case "deliver":
                assert span.kind == "internal"
                assert attributes.keys() == {"ronghe.receiver", "ronghe.inbox.sequence"}
                assert span.name == f"deliver {str(attributes['ronghe.receiver']).partition('/')[0]}"
            case _:
                assert span.kind == "internal"
                assert attributes.keys() == {"ronghe.event.id", "ronghe.stream", "ronghe.stream.version"}
                assert event_span_id(str(attributes["ronghe.event.id"])) == span.context.span_id


async def test_a_call_is_a_server_span_in_the_trace_of_its_caller(mesh: Mesh, desks: Sequence[Desk]) -> None:
    caller = SpanContext(int(uuid4()), 7)
    async with mesh.client("governance", OPERATOR) as client:
        with calls_under(caller):
            await client.operations.get_bridge_status(GetBridgeStatusRequest())
    found: list[Span] = []
    await until(lambda: found.extend(read_trace(mesh.data / "spans", caller.trace_id)) or bool(found), "it is written")
    (span,) = found
    method = "ronghe.operations.v1.OperationsService/GetBridgeStatus"
    assert (span.name, span.kind, span.parent, span.error) == (method, "server", caller.span_id, None)
    assert span.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": method,
        "rpc.response.status_code": "OK",
        "ronghe.caller.kind": "operator",
    }


async def test_no_span_lasts_while_a_person_thinks(mesh: Mesh, desks: Sequence[Desk]) -> None:
    async with counter(mesh, desks[0]) as here, here.listening():
        case_id = (await here.submit()).case_id
        await here.delivered(case_id)
        await asyncio.sleep(HUMAN_SECONDS)
        await here.accept(case_id)
        await asyncio.sleep(HUMAN_SECONDS)
        await here.deny(case_id)
        await here.at_intake(case_id, case_pb2.STATE_CLOSED)

    spans = await _trace(mesh, case_id, 20)

    assert max(span.end_ns - span.start_ns for span in spans) / 1e9 < HUMAN_SECONDS
    assert (spans[-1].end_ns - spans[0].start_ns) / 1e9 > 2 * HUMAN_SECONDS


HOPS_FROM_INTAKE = (
    "deliver service intake-01",
    f"send {TOPIC} governance-01",
    f"process {TOPIC} department-01",
    "deliver organ department-01",
)


def _planned_spans(story: Story) -> int:
    return sum(1 + len(_planned_hops(name)) for name in planned(story))


def _planned_hops(name: str) -> Sequence[str]:
    """What an organ did itself it need not be told; what followed at its server it is told."""
    if name in ("Submitted", "Supplemented", "WithdrawalRequested"):
        return HOPS_FROM_INTAKE
    told = ("deliver organ department-01",) if name in REACTIONS else ()
    return (
        *told,
        f"send {TOPIC} department-01",
        f"process {TOPIC} governance-01",
        "deliver service governance-01",
        "deliver intake intake-01",
    )


REACTIONS = ("Withdrawn", "WithdrawalDeclined", "SupplementReceived")


def _hops(spans: Sequence[Span], event: Span) -> list[str]:
    """What carried one event, each as its span's name and the process."""
    below: Mapping[int | None, list[Span]] = {
        parent: [span for span in spans if span.parent == parent] for parent in {span.parent for span in spans}
    }
    carried = [span for span in below.get(event.context.span_id, ()) if not span.name.startswith(EVENT)]
    carried += [span for sent in carried for span in below.get(sent.context.span_id, ())]
    return [f"{span.name} {span.service}" for span in carried]


async def _trace(mesh: Mesh, case_id: str, wanted: int) -> Sequence[Span]:
    """The trace without fault; spans are exported in the background, a moment after what they tell of."""
    spans: Sequence[Span] = ()

    def is_whole() -> bool:
        nonlocal spans
        spans = read_trace(mesh.data / "spans", trace_id(case_id))
        return len(spans) >= wanted and faults(spans) == []

    with contextlib.suppress(AssertionError):
        await until(is_whole, "the trace is whole", 5)
    assert faults(spans) == []
    return spans
