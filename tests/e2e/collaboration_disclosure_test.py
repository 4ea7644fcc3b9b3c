"""Everything that each party can get of a case that asks others, searched for marks that the party must not see."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from clients.errors import RongheError
from clients.governance import GovernanceClient
from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Answer, Collaboration
from ronghe.document.v1 import document_service_pb2 as documents
from ronghe.governance.v1 import governance_service_pb2 as governance
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from tests import builders
from tests.builders import ALLOWANCE, CITIZEN, JIEFANGBEI
from tests.e2e.collaborating import Table, now, seated
from tests.e2e.conftest import STRANGERS
from tests.e2e.drive import INTAKE, SUBSYSTEMS, TERMINAL, Mesh, contains, replay, until
from tests.unit.disclosure_test import ADDRESS, EXTERNAL, MOBILE, NAME, SECRET, SUMMARY, marked

LEAD = f"civil-affairs-{JIEFANGBEI}"
HRSS, HOUSING, MEDICAL, POLICE = (f"{name}-500103" for name in ("hrss", "housing", "medical-ins", "public-security"))
OPINIONS = {organ_id: f"标记意见之{organ_id}。" for organ_id in (HRSS, HOUSING, MEDICAL)}
RETURNED, EXPLAINED, DECIDED = "标记退回之理由", "标记未采纳之理由", "标记决定之条件"
PERSONAL = {NAME, CITIZEN, MOBILE, ADDRESS, f"{SECRET}bank_account.", f"{SECRET}household_register_no."}
REST = {SUMMARY, EXTERNAL}
LATER = {EXPLAINED, DECIDED}
EVERYTHING = PERSONAL | REST | LATER | set(OPINIONS.values()) | {RETURNED}


@dataclass(eq=False)
class Story:
    """A case that was decided against one of its collaborators, and closed."""

    case: case_pb2.Case
    collaboration: Collaboration
    received: dict[str, bytes] = field(default_factory=dict)

    @property
    def numbers(self) -> set[str]:
        return {self.case.case_no, *(document.number for document in self.case.documents)}


@pytest.fixture(scope="module")
def told() -> dict[str, Story]:
    """The one story, told once."""
    return {}


@pytest.fixture
async def story(mesh: Mesh, told: dict[str, Story]) -> Story:
    if "it" not in told:
        async with seated(mesh) as table:
            told["it"] = await _tell(table)
    return told["it"]


async def _tell(table: Table) -> Story:
    """Four are asked; one returns its task, which an officer gives to another of them; one is overridden."""
    case_id = await table.submitted(marked(now(), ALLOWANCE, JIEFANGBEI), LEAD)
    lead = await table.organ(LEAD)
    await lead.accept_application(builders.acceptance(case_id, now(), as_proposed=builders.as_proposed()))
    asked = await table.ask(case_id, "hrss", "housing", "medical-ins", "public-security", lead=LEAD)
    police = await table.task(POLICE, asked)
    give_back = builders.returning(police.task_id, now(), HRSS)
    give_back.reason = RETURNED
    await (await table.organ(POLICE)).collaborations.return_task(give_back)
    await _route_by_hand(table, asked, police.task_id)
    for organ_id, opinion in (
        (HOUSING, Answer.OPINION_DISAGREE),
        (MEDICAL, Answer.OPINION_AGREE_WITH_CONDITIONS),
    ):
        await table.answer(organ_id, asked, opinion, OPINIONS[organ_id])
    await _answer_both(table, asked)
    concluded = await table.is_in(asked, Collaboration.STATE_CONCLUDED, LEAD)
    case = await table.case(case_id, LEAD)
    disagreeing = next(task.task_id for task in concluded.tasks if task.organ.id == HOUSING)
    grant = builders.grant(
        case_id,
        now(),
        case.version,
        citations=builders.cite(case),
        overrides=[{"task_id": disagreeing, "explanation": EXPLAINED}],
    )
    grant.granted.conditions[:] = [DECIDED]
    await lead.decide_application(grant)
    await lead.close_case(builders.closing(case_id, now()))
    await table.at_intake(case_id, case_pb2.STATE_CLOSED)
    return Story(await table.case(case_id, LEAD), concluded)


async def _route_by_hand(table: Table, asked: str, task_id: str) -> None:
    """The law names whom the applicant's data may be shown: where that one suggests another, an officer decides."""

    async def is_held() -> bool:
        tasks = (await table.collaboration(asked, LEAD)).tasks
        return next(task.waiting_at for task in tasks if task.task_id == task_id) == "500103"

    await until(is_held, "the task waits for an officer")
    await (await table.center("500103")).route_collaboration(builders.routing(asked, task_id, now(), organ_id=HRSS))


async def _answer_both(table: Table, asked: str) -> None:
    """The one to whom the officer gave the returned task has two of them now."""
    client = (await table.organ(HRSS)).collaborations
    first = await table.task(HRSS, asked)
    answered: set[str] = set()
    while len(answered) < 2:
        for task in await table.tasks(HRSS):
            if task.collaboration_id == first.collaboration_id and task.task_id not in answered:
                await client.sign_for_task(builders.signing(task.task_id, now()))
                command = builders.answering(task, now())
                command.answer.text = OPINIONS[HRSS]
                await client.answer_task(command)
                answered.add(task.task_id)


# --- everything that a party can ask for ---


async def _everything(mesh: Mesh, story: Story, identity: Identity) -> dict[str, str]:
    """What each call at each subsystem answers: "OK", or the reason; `story.received` has all the bytes."""
    outcomes: dict[str, str] = {}
    received: list[bytes] = []

    async def note(name: str, call: Awaitable[Message]) -> None:
        try:
            answer = await call
        except RongheError as error:
            outcomes[name] = error.reason
            received.append(f"{error.message} {dict(error.metadata)} {error.violations}".encode())
        else:
            outcomes[name] = "OK"
            if isinstance(answer, inbox.FetchInboxResponse):
                _keep(answer, story)
            received.append(answer.SerializeToString())

    for subsystem in SUBSYSTEMS:
        async with GovernanceClient(mesh.addresses[subsystem], mesh.pki, identity) as client:
            for name, call in _reads(client, story, subsystem):
                await note(f"{subsystem} {name}", call)
        if identity.kind in ("organ", "center", "intake"):
            received += [event.SerializeToString() for event in await replay(mesh, subsystem, identity)
                         if event.case_id == story.case.case_id]  # fmt: skip
    story.received[str(identity)] = b"\n".join(received)
    return outcomes


def _keep(answer: inbox.FetchInboxResponse, story: Story) -> None:
    """Of this story only: the party may have other cases, of its own."""
    items = [item for item in answer.items if item.event.case_id == story.case.case_id]
    del answer.items[:]
    answer.items.extend(items)


def _reads(client: GovernanceClient, story: Story, subsystem: str) -> Sequence[tuple[str, Awaitable[Message]]]:
    case_id, collaboration = story.case.case_id, story.collaboration
    calls: list[tuple[str, Awaitable[Any]]] = [
        ("GetCase", client.cases.get_case(cases.GetCaseRequest(case_id=case_id))),
        ("GetCase by number", client.cases.get_case(cases.GetCaseRequest(case_no=story.case.case_no))),
        ("ListCases", client.cases.list_cases(cases.ListCasesRequest(page_size=500))),
        ("GetCaseTimeline", client.cases.get_case_timeline(cases.GetCaseTimelineRequest(case_id=case_id))),
        ("LocateCase", client.cases.locate_case(cases.LocateCaseRequest(case_id=case_id))),
        ("FetchInbox", client.fetch_inbox(inbox.FetchInboxRequest(limit=1000, wait=Duration(nanos=100_000_000)))),
    ]
    for document in story.case.documents:
        request = documents.GetDocumentRequest(case_id=case_id, number=document.number)
        calls.append((f"GetDocument {document.number}", client.documents.get_document(request)))
    if subsystem == "intake":
        return calls
    asked = client.collaborations
    calls += [
        ("GetCollaboration", asked.get_collaboration(
            pb.GetCollaborationRequest(collaboration_id=collaboration.collaboration_id))),
        ("GetCollaboration by number", asked.get_collaboration(
            pb.GetCollaborationRequest(event_no=collaboration.event_no))),
        ("ListCollaborations", asked.list_collaborations(pb.ListCollaborationsRequest(page_size=500))),
        ("ListCollaborations of the case", asked.list_collaborations(pb.ListCollaborationsRequest(case_id=case_id))),
        ("ListTasks", asked.list_tasks(pb.ListTasksRequest(page_size=500))),
        *((f"GetTask {task.brief.rule}", asked.get_task(pb.GetTaskRequest(task_id=task.task_id)))
          for task in collaboration.tasks),
    ]  # fmt: skip
    if subsystem == "governance":
        hops = governance.ListHopsRequest(collaboration_id=collaboration.collaboration_id)
        calls.append(("ListHops", client.list_hops(hops)))
        calls.append(("GetSummary", client.get_summary(governance.GetSummaryRequest())))
    return calls


def _marks(story: Story, identity: Identity) -> set[str]:
    return {mark for mark in EVERYTHING | story.numbers if contains(story.received[str(identity)], mark)}


NOT_FOUND = {"CASE_NOT_FOUND", "COLLABORATION_NOT_FOUND", "TASK_NOT_FOUND"}
CLOSED = NOT_FOUND | {"CALLER_KIND_NOT_ALLOWED", "METHOD_NOT_OFFERED"}


def _shown(outcomes: dict[str, str]) -> set[str]:
    """The calls that named something and were answered: lists and the like are, however empty."""
    return {name for name, outcome in outcomes.items() if outcome == "OK" and name.split(" ")[1] not in EMPTY}


EMPTY = ("ListCases", "ListCollaborations", "ListTasks", "FetchInbox", "GetSummary")


async def test_the_lead_sees_all_of_its_case(mesh: Mesh, story: Story) -> None:
    """And so the marks would be found where they should not be."""
    lead = Identity("organ", LEAD)
    outcomes = await _everything(mesh, story, lead)
    assert outcomes["department GetCollaboration"] == outcomes["governance GetCollaboration"] == "OK"
    assert outcomes["department GetCase"] == "OK"
    assert _marks(story, lead) == EVERYTHING | story.numbers


# To whom the rule discloses what, and not to whom the task went on; the reason of that is in no collaborator's hands.
PARTS = {
    HRSS: {NAME, CITIZEN, OPINIONS[HRSS]},
    HOUSING: {NAME, CITIZEN, OPINIONS[HOUSING]},
    MEDICAL: {NAME, CITIZEN, OPINIONS[MEDICAL]},
    POLICE: {NAME, CITIZEN, f"{SECRET}household_register_no."},
}


@pytest.mark.parametrize("organ_id", PARTS)
async def test_a_collaborator_sees_its_own_task_and_no_more(mesh: Mesh, story: Story, organ_id: str) -> None:
    identity = Identity("organ", organ_id)
    outcomes = await _everything(mesh, story, identity)
    rules = {task.brief.rule for task in story.collaboration.tasks if task.organ.id == organ_id}
    if organ_id == POLICE:
        rules.add("public-security")
    assert _shown(outcomes) == {f"department GetTask {rule}" for rule in rules}
    assert {outcome for outcome in outcomes.values() if outcome != "OK"} <= CLOSED
    assert _marks(story, identity) == PARTS[organ_id]


@pytest.mark.parametrize("center_id", [JIEFANGBEI, "500103"])
async def test_a_center_on_the_way_sees_tasks_hops_and_answers_without_personal_data(
    mesh: Mesh, story: Story, center_id: str
) -> None:
    identity = Identity("center", center_id)
    outcomes = await _everything(mesh, story, identity)
    assert _shown(outcomes) == {
        f"governance {name}" for name in ("GetCollaboration", "GetCollaboration by number", "ListHops")
    }
    receipt = {number for number in story.numbers if contains(story.collaboration.receipt, number)}
    assert _marks(story, identity) == {*OPINIONS.values(), RETURNED, *receipt}


OFF_THE_WAY = (
    Identity("center", "500106"),
    Identity("center", "500000"),
    Identity("organ", "fire-500103"),
    Identity("organ", "urban-mgmt-500103"),
    *STRANGERS,
)


@pytest.mark.parametrize("identity", OFF_THE_WAY, ids=str)
async def test_whoever_has_no_part_in_it_gets_nothing(mesh: Mesh, story: Story, identity: Identity) -> None:
    outcomes = await _everything(mesh, story, identity)
    assert _shown(outcomes) == set()
    assert {outcome for outcome in outcomes.values() if outcome != "OK"} <= CLOSED
    assert _marks(story, identity) == set()


@pytest.mark.parametrize("identity", [TERMINAL, INTAKE], ids=str)
async def test_the_applicants_side_sees_its_case_and_nothing_of_what_others_were_asked(
    mesh: Mesh, story: Story, identity: Identity
) -> None:
    """The decision tells it what it must know: the conditions, and why a disagreement was not followed."""
    outcomes = await _everything(mesh, story, identity)
    assert not {name for name in _shown(outcomes) if "Collaboration" in name or "Task" in name or "Hops" in name}
    assert _marks(story, identity).isdisjoint({RETURNED, *OPINIONS.values()})
    assert not contains(story.received[str(identity)], story.collaboration.event_no)
