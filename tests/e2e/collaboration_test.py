import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from clients.errors import RongheError
from clients.identity import Identity
from clients.telemetry import event_span_id, trace_id
from clients.telemetry.spans import Span
from clients.telemetry.store import read_trace
from clients.telemetry.tree import faults
from ronghe.case.v1 import case_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Answer, Collaboration, Hop, Task
from ronghe.event.v1 import event_pb2 as event
from ronghe.governance.v1 import governance_service_pb2 as governance
from tests import builders
from tests.e2e.collaborating import (
    ASKED,
    HERE,
    LEAD,
    POLICE,
    POLICE_THERE,
    THERE,
    TOWN,
    TOWN_THERE,
    WAY,
    Table,
    now,
    seated,
)
from tests.e2e.drive import (
    AUDITOR,
    INTAKE,
    OPERATOR,
    TERMINAL,
    Mesh,
    assert_journals_are_whole,
    case_at,
    until,
)
from tests.e2e.topic import header, read_topic

Call = Callable[[], Awaitable[object]]
EVENT = "ronghe.event.v1."


@pytest.fixture
async def table(mesh: Mesh) -> AsyncIterator[Table]:
    async with seated(mesh) as everybody:
        yield everybody


async def test_a_case_is_decided_on_the_answers_of_two_districts(mesh: Mesh, table: Table) -> None:
    case_id = await table.accepted(HERE, THERE)
    asked = await table.ask(case_id)
    opened = await table.is_in(asked, Collaboration.STATE_OPENED)
    for organ_id in ASKED:
        await table.answer(organ_id, asked)
    concluded = await table.is_in(asked, Collaboration.STATE_CONCLUDED)
    at_intake = await table.decide(case_id)

    assert (opened.center_id, opened.receipt.case_id) == ("500000", case_id)
    assert at_intake.outcome == case_pb2.OUTCOME_GRANTED
    for name in ("governance", "department"):
        assert (await case_at(mesh, name, case_id)).outcome == case_pb2.OUTCOME_GRANTED
        assert sorted(mesh.recorded(name, case_id)) == sorted(EVERYTHING)
    for center_id in WAY:
        client = await table.center(center_id)
        seen = await client.collaborations.get_collaboration(pb.GetCollaborationRequest(collaboration_id=asked))
        assert _unversioned(seen.collaboration) == _unversioned(concluded)
        hops = (await client.list_hops(governance.ListHopsRequest(collaboration_id=asked))).hops
        assert [hop.hop for hop in hops if hop.task_id == concluded.tasks[1].task_id] == list(concluded.tasks[1].hops)
    assert [(hop.to, hop.reason) for hop in concluded.tasks[1].hops] == [
        ("center/500103", Hop.REASON_REQUESTED),
        ("center/500000", Hop.REASON_UP),
        ("center/500106", Hop.REASON_DOWN),
        (f"organ/{POLICE_THERE}", Hop.REASON_DISPATCHED),
    ]


EVERYTHING = (
    "Submitted",
    "Accepted",
    "CollaborationRequested",
    "CollaborationOpened",
    *["TaskRouted"] * (1 + 3 + 2 + 4),
    *["TaskAssigned", "TaskSigned", "TaskAnswered", "AnswerReceived"] * 4,
    "CollaborationConcluded",
    "Decided",
    "Closed",
)


async def test_the_trace_has_every_hop_and_answer_under_what_caused_it(mesh: Mesh, table: Table) -> None:
    case_id = await table.accepted(HERE, THERE)
    asked = await table.ask(case_id)
    for organ_id in ASKED:
        await table.answer(organ_id, asked)
    await table.is_in(asked, Collaboration.STATE_CONCLUDED)
    await table.decide(case_id)

    rows = mesh.rows("governance", "SELECT event_id, type, causes FROM journal WHERE case_id = ?", case_id)
    spans = await _spans(mesh, case_id, len(rows))

    (root,) = [span for span in spans.values() if span.parent is None]
    assert root.name == f"{EVENT}Submitted"
    for event_id, kind, causes in rows:
        span = spans[event_span_id(event_id)]
        found = [event_span_id(cause) for cause in causes.split(",") if cause]
        parent, others = (found[0] if found else None), found[1:]
        assert (span.name, span.parent) == (kind, parent)
        assert {link.span_id for link in span.links} >= set(others)
    (concluded,) = [span for span in spans.values() if span.name == f"{EVENT}CollaborationConcluded"]
    leads_to_it = {concluded.parent, *(link.span_id for link in concluded.links)}
    assert {spans[one].name for one in leads_to_it if one in spans} == {f"{EVENT}AnswerReceived"}
    assert len(leads_to_it) == len(ASKED)


async def _spans(mesh: Mesh, case_id: str, events: int) -> dict[int, Span]:
    """By their ids, when those of all events are exported."""
    found: dict[int, Span] = {}

    def is_whole() -> bool:
        spans = read_trace(mesh.data / "spans", trace_id(case_id))
        found.update({span.context.span_id: span for span in spans})
        return sum(span.name.startswith(EVENT) for span in found.values()) >= events and faults(spans) == []

    await until(is_whole, "the trace is whole")
    return found


async def test_at_every_step_the_wrong_party_is_refused(mesh: Mesh, table: Table) -> None:
    case_id = await table.accepted(HERE)
    asking = builders.asking(case_id, now(), "traffic-police", "town-gov")
    await _refused(table, _asks(table, asking), CASE_NOT_FOUND)
    asked = await table.ask(case_id)
    police, town = await table.task(POLICE, asked), await table.task(TOWN, asked)
    recall = builders.recall(case_id, now(), asked)
    for organ_id in (TOWN, LEAD, "fire-500103"):
        client = (await table.organ(organ_id)).collaborations
        sign, give_back = builders.signing(police.task_id, now()), builders.returning(police.task_id, now())
        answer = builders.answering(police, now())
        assert await _reason(client.get_task(pb.GetTaskRequest(task_id=police.task_id))) == "TASK_NOT_FOUND"
        assert await _reason(client.sign_for_task(sign)) == "TASK_NOT_FOUND"
        assert await _reason(client.answer_task(answer)) == "TASK_NOT_FOUND"
        assert await _reason(client.return_task(give_back)) == "TASK_NOT_FOUND"
    for organ_id in (TOWN, POLICE, "fire-500103"):
        client = (await table.organ(organ_id)).collaborations
        assert await _reason(client.recall_collaboration(recall)) == "CASE_NOT_FOUND"
    early = (await table.organ(POLICE)).collaborations.answer_task(builders.answering(police, now()))
    assert await _reason(early) == "ILLEGAL_STATE"
    await _may_not_route(table, asked, town.task_id)
    await _may_not_decide(table, case_id)
    for organ_id in (POLICE, TOWN):
        await table.answer(organ_id, asked)
    await table.is_in(asked, Collaboration.STATE_CONCLUDED)
    late = (await table.organ(LEAD)).collaborations.recall_collaboration(recall)
    assert await _reason(late) == "COLLABORATION_ENDED"
    assert (await table.decide(case_id)).outcome == case_pb2.OUTCOME_GRANTED


CASE_NOT_FOUND = {f"organ/{name}": "CASE_NOT_FOUND" for name in (POLICE, "fire-500103", "urban-mgmt-500106")}


def _asks(table: Table, command: pb.RequestCollaborationRequest) -> dict[str, Call]:
    async def ask(organ_id: str) -> object:
        return await (await table.organ(organ_id)).collaborations.request_collaboration(command)

    return {name: lambda name=name: ask(name.removeprefix("organ/")) for name in CASE_NOT_FOUND}  # type: ignore[misc]


async def _refused(table: Table, calls: dict[str, Call], reasons: dict[str, str]) -> None:
    assert {name: await _reason(call()) for name, call in calls.items()} == reasons


async def _may_not_route(table: Table, asked: str, task_id: str) -> None:
    """Only centers route, only on the way, and none below the one that has the task."""
    route = builders.routing(asked, task_id, now(), organ_id="fire-500103")
    for identity, reason in (
        (Identity("organ", LEAD), "CALLER_KIND_NOT_ALLOWED"),
        (Identity("organ", TOWN), "CALLER_KIND_NOT_ALLOWED"),
        (TERMINAL, "CALLER_KIND_NOT_ALLOWED"),
        (OPERATOR, "CALLER_KIND_NOT_ALLOWED"),
        (Identity("center", "500106"), "COLLABORATION_NOT_FOUND"),
        (Identity("center", "500000"), "COLLABORATION_NOT_FOUND"),
    ):
        assert await _reason((await table.at_governance(identity)).route_collaboration(route)) == reason, str(identity)
    below = builders.routing(asked, task_id, now(), organ_id="fire-500103")
    below.task_id = next(task.task_id for task in (await table.collaboration(asked)).tasks if task.organ.id == POLICE)
    assert await _reason((await table.center(HERE)).route_collaboration(below)) == "TASK_HELD_ELSEWHERE"
    for command in (builders.asking(asked, now(), "x"), builders.recall(asked, now(), asked)):
        client = (await table.at_governance(Identity("organ", LEAD))).collaborations
        call: Any = (
            client.request_collaboration
            if isinstance(command, pb.RequestCollaborationRequest)
            else client.recall_collaboration
        )
        assert await _reason(call(command)) == "METHOD_NOT_OFFERED"


async def _may_not_decide(table: Table, case_id: str) -> None:
    case = await table.case(case_id)
    for organ_id, reason in ((POLICE, "CASE_NOT_FOUND"), (LEAD, "COLLABORATION_OPEN")):
        grant = builders.grant(case_id, now(), case.version, citations=builders.cite(case))
        assert await _reason((await table.organ(organ_id)).decide_application(grant)) == reason


async def _reason(call: Awaitable[object]) -> str:
    with pytest.raises(RongheError) as failed:
        await call
    return failed.value.reason


@pytest.mark.parametrize("identity", [TERMINAL, INTAKE, Identity("center", "500103")], ids=str)
async def test_who_is_no_organ_asks_and_answers_nothing(table: Table, identity: Identity) -> None:
    async with table.mesh.client("department", identity) as client:
        calls = client.collaborations
        refused = [
            await _reason(calls.request_collaboration(builders.asking(UNKNOWN, now(), "traffic-police"))),
            await _reason(calls.recall_collaboration(builders.recall(UNKNOWN, now(), UNKNOWN))),
            await _reason(calls.sign_for_task(builders.signing(UNKNOWN, now()))),
            await _reason(calls.answer_task(builders.answering(Task(task_id=UNKNOWN), now()))),
            await _reason(calls.return_task(builders.returning(UNKNOWN, now()))),
            await _reason(calls.get_task(pb.GetTaskRequest(task_id=UNKNOWN))),
            await _reason(calls.list_tasks(pb.ListTasksRequest())),
        ]
    assert refused == ["CALLER_KIND_NOT_ALLOWED"] * 7


async def test_the_summary_counts_what_the_list_shows(mesh: Mesh, table: Table) -> None:
    case_id = await table.accepted(HERE)
    asked = await table.ask(case_id)
    await table.answer(TOWN, asked)
    await table.is_in(asked, Collaboration.STATE_OPENED)
    center = await table.center("500103")
    operator = await table.at_governance(OPERATOR)

    async def counted() -> bool:
        listed = await operator.collaborations.list_collaborations(pb.ListCollaborationsRequest(page_size=500))
        led = [one for one in listed.collaborations if one.lead.division.startswith("500103")]
        tasks = [task for one in led for task in one.tasks]
        summary = await center.get_summary(governance.GetSummaryRequest())
        assert not listed.next_page_token
        return (
            {one.state: one.count for one in summary.collaborations_by_state} == Counter(one.state for one in led)
            and {one.tier: one.count for one in summary.collaborations_by_tier} == Counter(one.tier for one in led)
            and {one.state: one.count for one in summary.tasks_by_state} == Counter(task.state for task in tasks)
            and {one.organ_id: one.count for one in summary.open_tasks_by_organ}
            == Counter(task.organ.id for task in tasks if task.state in (Task.STATE_ASSIGNED, Task.STATE_SIGNED))
        )

    await until(counted, "the summary counts what the list shows")


UNKNOWN = "01a208bc-0000-7000-8000-000000000000"


async def test_a_withdrawal_takes_back_what_was_asked(mesh: Mesh, table: Table) -> None:
    case_id = await table.accepted(HERE)
    asked = await table.ask(case_id)
    await table.answer(TOWN, asked)
    await table.task(POLICE, asked)
    await (await table.terminal()).request_withdrawal(builders.withdrawal(case_id, now()))

    case = await table.at_intake(case_id, case_pb2.STATE_CLOSED)
    ended = await table.is_in(asked, Collaboration.STATE_RECALLED)
    task = await table.task_is_in(POLICE, asked, Task.STATE_RECALLED)

    assert case.outcome == case_pb2.OUTCOME_WITHDRAWN
    assert {one.organ.id: one.state for one in ended.tasks} == {
        POLICE: Task.STATE_RECALLED,
        TOWN: Task.STATE_ANSWERED,
    }
    late = (await table.organ(POLICE)).collaborations.sign_for_task(builders.signing(task.task_id, now()))
    assert await _reason(late) == "ILLEGAL_STATE"


async def test_the_five_commands_go_in_bulk_and_a_repeated_one_has_its_first_answer(mesh: Mesh, table: Table) -> None:
    case_id = await table.accepted(HERE)
    lead = await table.organ(LEAD)
    ask = builders.asking(case_id, now(), "traffic-police", "town-gov")
    first = await _in_bulk(lead, ask)
    assert await lead.collaborations.request_collaboration(ask) == first
    police, town = await table.task(POLICE, first.collaboration_id), await table.task(TOWN, first.collaboration_id)

    sign, sign_town = builders.signing(police.task_id, now()), builders.signing(town.task_id, now())
    signed = await _in_bulk(await table.organ(POLICE), sign)
    assert signed.reply_due.date.year >= 2026
    assert await (await table.organ(POLICE)).collaborations.sign_for_task(sign) == signed
    await _in_bulk(await table.organ(TOWN), sign_town)
    give_back = builders.returning(town.task_id, now(), f"town-gov-{THERE}")
    answer = builders.answering(police, now())
    for organ_id, command in ((POLICE, answer), (TOWN, give_back)):
        once = await _in_bulk(await table.organ(organ_id), command)
        assert await _in_bulk(await table.organ(organ_id), command) == once
    other = await table.task(TOWN_THERE, first.collaboration_id)
    assert (other.task_id, other.assignment) == (town.task_id, 2)

    recall = builders.recall(case_id, now(), first.collaboration_id)
    taken_back = await _in_bulk(lead, recall)
    assert await lead.collaborations.recall_collaboration(recall) == taken_back
    recall.reason = "另一理由"
    assert await _reason(lead.collaborations.recall_collaboration(recall)) == "REQUEST_ID_REUSED"
    await table.is_in(first.collaboration_id, Collaboration.STATE_RECALLED)
    await table.task_is_in(TOWN_THERE, first.collaboration_id, Task.STATE_RECALLED)
    recorded = mesh.recorded("department", case_id)
    for name, times in (("CollaborationRequested", 1), ("TaskSigned", 2), ("TaskAnswered", 1), ("TaskReturned", 1)):
        assert recorded.count(name) == times
    assert recorded.count("CollaborationRecallRequested") == 1


async def _in_bulk(organ: Any, command: Any) -> Any:
    (answer,) = [answer async for answer in organ.execute_many([command])]
    return answer.result()


async def test_a_center_that_is_killed_between_request_and_answers_loses_nothing(mesh: Mesh, table: Table) -> None:
    case_ids = [await table.accepted(HERE, THERE) for _ in range(4)]
    killed = mesh.signal("governance", signal.SIGKILL)
    asked = {case_id: await table.ask(case_id) for case_id in case_ids}
    await until(lambda: mesh.pid("governance") not in (0, killed), "governance runs again")
    for number, name in enumerate(asked.values()):
        for organ_id in ASKED:
            await table.answer(organ_id, name)
        if number == 1:
            killed = mesh.signal("governance", signal.SIGKILL)
    for name in asked.values():
        await table.is_in(name, Collaboration.STATE_CONCLUDED)

    await until(lambda: mesh.pid("governance") not in (0, killed), "governance runs again")
    for case_id in case_ids:
        assert (await table.decide(case_id)).outcome == case_pb2.OUTCOME_GRANTED
        for name in ("governance", "department"):
            assert sorted(mesh.recorded(name, case_id)) == sorted(EVERYTHING)
    await assert_journals_are_whole(mesh)


async def test_the_topic_has_the_collaboration_in_the_order_of_its_causes(mesh: Mesh, table: Table) -> None:
    case_id = await table.accepted(HERE, THERE)
    asked = await table.ask(case_id)
    await table.answer(POLICE, asked, Answer.OPINION_AGREE_WITH_CONDITIONS)
    for organ_id in ASKED[1:]:
        await table.answer(organ_id, asked)
    await table.is_in(asked, Collaboration.STATE_CONCLUDED)
    await table.decide(case_id)

    messages = [message for message in read_topic(mesh) if message.key() == case_id.encode()]

    said_by = defaultdict(set)
    seen: list[str] = []
    for message in messages:
        kind = header(message, "ce_type").removeprefix(EVENT)
        said_by[header(message, "ce_source")].add(kind)
        assert {cause for cause in header(message, "ce_causes").split(",") if cause} <= set(seen)
        seen.append(header(message, "ce_id"))
        fact = getattr(event, kind)()
        fact.ParseFromString(message.value() or b"")
        if kind == "CollaborationRequested":
            assert fact.collaboration.receipt.case_id == case_id
            assert fact.collaboration.collaboration_id == asked
    assert sorted(header(message, "ce_type").removeprefix(EVENT) for message in messages) == sorted(EVERYTHING)
    assert len({message.partition() for message in messages}) == 1
    assert said_by["governance-01"] == {
        "CollaborationOpened",
        "TaskRouted",
        "TaskAssigned",
        "AnswerReceived",
        "CollaborationConcluded",
    }
    assert said_by["intake-01"] == {"Submitted"}
    assert (await case_at(mesh, "governance", case_id, AUDITOR)).outcome == case_pb2.OUTCOME_GRANTED


def _unversioned(collaboration: Collaboration) -> Collaboration:
    """Without what counts a subsystem's own records."""
    copy = Collaboration()
    copy.CopyFrom(collaboration)
    copy.ClearField("version")
    return copy
