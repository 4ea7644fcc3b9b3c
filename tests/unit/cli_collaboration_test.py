"""Collaboration on the command line, against toy subsystems."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.type.date_pb2 import Date

from clients.department import Command, DepartmentClient
from ronghe.case.v1.case_pb2 import Judgement
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CONSULTATION, TIER_DISTRICT
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import (
    COMPLETION_ALL_MUST_ANSWER,
    COMPLETION_LEAD_DECIDES,
    Answer,
    CoApproval,
    Collaboration,
    Task,
)
from ronghe.department.v1.department_service_pb2 import AcceptApplicationRequest, DecideApplicationRequest
from ronghe.governance.v1.governance_service_pb2 import GetSummaryResponse, ListHopsResponse
from ronghe.party.v1 import party_pb2
from tests.unit import cli_toys
from tests.unit.cli_support import ToyMesh, complaint, ronghe, said, toy_mesh
from tests.unit.cli_toys import (
    CASE_ID,
    CASE_NO,
    CENTER,
    COLLABORATOR,
    CONCLUDED_ID,
    EVENT_NO,
    HELD_ID,
    ORGAN,
    REQUESTED_ID,
    TASK_ID,
)

OFFICER = ("--officer", "0417:李敏")
AS_LEAD = ("--as", str(ORGAN))
AS_COLLABORATOR = ("--as", str(COLLABORATOR))
AS_CENTER = ("--as", str(CENTER))
LEAD = (*AS_LEAD, *OFFICER)
SIGNED = (*AS_COLLABORATOR, *OFFICER)
ASKING = ("--kind", "consultation", "--question", "有无影响?", "--days", "5")
ROUTE = ("collaboration", "route", EVENT_NO, "--to", "organ/police-500103", "--reason", "交通管制归公安")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyMesh]:
    with toy_mesh(tmp_path_factory.mktemp("data")) as mesh:
        yield mesh


def joined(printed: str) -> str:
    """What was printed, on one line: commands to copy are broken as the shell allows it."""
    return " ".join(printed.replace("\\\n", " ").split())


def latest(mesh: ToyMesh) -> Any:
    """What the department server was told last about collaborations."""
    return mesh.department.collaborations.requests[-1]


# --- a collaborator's tasks ---


def test_a_task_tells_what_is_asked_what_is_disclosed_and_what_to_do(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "task", "show", TASK_ID, *AS_COLLABORATOR))
    for told in (EVENT_NO, ORGAN.id, "是否影响消防通道?", "5 working days from signing for it", "not granted without"):
        assert told in printed
    assert "area_m2" in printed
    assert "12.5" in printed
    assert f"ronghe task sign {TASK_ID} --officer ID:NAME --as {COLLABORATOR}" in joined(printed)
    assert f"ronghe task return {TASK_ID}" in printed


def test_of_personal_data_a_task_shows_only_what_is_disclosed_and_where_it_stands(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "task", "show", TASK_ID, *AS_COLLABORATOR))
    assert "the applicant's name, the applicant's mobile" in printed
    assert "王小明" not in printed
    assert "王小明" in said(ronghe(mesh.data, "task", "show", TASK_ID, *AS_COLLABORATOR, "--json"))


def test_signing_says_by_when_and_how_to_answer(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "task", "sign", TASK_ID, *SIGNED))
    assert "2026-11-30" in printed
    assert f"ronghe task answer {TASK_ID} --opinion OPINION --officer ID:NAME --as {COLLABORATOR}" in joined(printed)
    assert (latest(mesh).task_id, latest(mesh).actor.name) == (TASK_ID, "李敏")


def shown_in(mesh: ToyMesh, state: "Task.State.ValueType") -> str:
    """How the task is shown in this state."""
    mesh.department.collaborations.task_state = state
    printed = said(ronghe(mesh.data, "task", "show", TASK_ID, *AS_COLLABORATOR))
    mesh.department.collaborations.task_state = Task.STATE_ASSIGNED
    return joined(printed)


def test_a_co_approval_that_is_signed_for_wants_the_organ_s_own_document(mesh: ToyMesh) -> None:
    printed = shown_in(mesh, Task.STATE_SIGNED)
    assert "answer by 2026-11-30" in printed
    assert f"ronghe task answer {TASK_ID} --opinion OPINION --document-number NUMBER --issued-on DATE" in printed


def test_an_answered_task_asks_for_nothing_more(mesh: ToyMesh) -> None:
    assert "ronghe task" not in shown_in(mesh, Task.STATE_ANSWERED)


def answered(mesh: ToyMesh, *options: str) -> Answer:
    """The answer that arrives of such a command."""
    said(ronghe(mesh.data, "task", "answer", TASK_ID, *SIGNED, *options))
    found: Answer = latest(mesh).answer
    return found


def test_an_answer_is_made_of_options(mesh: ToyMesh) -> None:
    conditional = answered(
        mesh, "--opinion", "agree-with-conditions", "--text", "可", "--condition", "夜间施工", "--condition", "围挡"
    )
    assert (conditional.opinion, conditional.text) == (Answer.OPINION_AGREE_WITH_CONDITIONS, "可")
    assert list(conditional.conditions) == ["夜间施工", "围挡"]
    assert not conditional.HasField("co_approval")
    assert not conditional.HasField("visited_at")
    assert list(answered(mesh, "--opinion", "disagree", "--reason", "堵塞通道").reasons) == ["堵塞通道"]
    assert list(answered(mesh, "--opinion", "need-more-material", "--need", "平面图").needs) == ["平面图"]


def test_a_site_visit_says_when(mesh: ToyMesh) -> None:
    visited = answered(mesh, "--opinion", "agree", "--visited-at", "2026-11-20T09:30:00+08:00")
    assert visited.visited_at.ToJsonString() == "2026-11-20T01:30:00Z"


@pytest.mark.parametrize(
    ("opinion", "result"),
    [
        (("--opinion", "agree"), CoApproval.RESULT_GRANTED),
        (("--opinion", "agree-with-conditions", "--condition", "围挡"), CoApproval.RESULT_GRANTED),
        (("--opinion", "disagree", "--reason", "堵塞通道"), CoApproval.RESULT_DENIED),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_the_own_result_of_a_co_approval_follows_the_opinion(
    mesh: ToyMesh, opinion: tuple[str, ...], result: "CoApproval.Result.ValueType"
) -> None:
    own = ("--document-number", "消审〔2026〕7号", "--issued-on", "2026-11-20")
    given = answered(mesh, *opinion, *own).co_approval
    assert (given.document_number, given.result) == ("消审〔2026〕7号", result)
    assert given.issued_on == Date(year=2026, month=11, day=20)


def test_the_own_result_names_its_certificate(mesh: ToyMesh) -> None:
    own = ("--document-number", "7", "--issued-on", "2026-11-20", "--certificate", "消防合格证=XF-1")
    paper = answered(mesh, "--opinion", "agree", *own, "--valid-to", "2027-11-19").co_approval.certificate
    assert (paper.name, paper.number, paper.valid_to.year) == ("消防合格证", "XF-1", 2027)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--opinion", "maybe"), "agree, agree-with-conditions, disagree, need-more-material"),
        (("--opinion", "agree", "--condition", "围挡"), "conditions come with AGREE_WITH_CONDITIONS"),
        (("--opinion", "agree", "--document-number", "7"), "--issued-on"),
        (("--opinion", "agree", "--certificate", "证=1"), "--document-number"),
        (("--opinion", "agree", "--valid-from", "2026-12-01"), "--certificate"),
        (("--opinion", "agree", "--visited-at", "gestern"), "2026-11-23T09:30:00+08:00"),
        (
            ("--opinion", "need-more-material", "--need", "图", "--document-number", "7", "--issued-on", "2026-11-20"),
            "agrees or disagrees",
        ),
    ],
)
def test_what_makes_no_answer_is_one_sentence(mesh: ToyMesh, options: tuple[str, ...], words: str) -> None:
    assert words in complaint(ronghe(mesh.data, "task", "answer", TASK_ID, *SIGNED, *options))


def test_a_task_is_returned_with_a_suggestion(mesh: ToyMesh) -> None:
    options = ("--reason", "非本部门职责", "--suggest", "police-500103")
    said(ronghe(mesh.data, "task", "return", TASK_ID, *SIGNED, *options))
    assert (latest(mesh).reason, latest(mesh).suggested_organ_id) == ("非本部门职责", "police-500103")


def test_tasks_are_listed_by_state(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "task", "list", "--state", "assigned", *AS_COLLABORATOR))
    assert TASK_ID in printed
    assert latest(mesh).state == Task.STATE_ASSIGNED


def test_programs_send_the_acts_of_a_collaboration_in_bulk_too(mesh: ToyMesh) -> None:
    officer, answer = party_pb2.Officer(id="0417", name="李敏"), Answer(opinion=Answer.OPINION_AGREE)
    address = json.loads((mesh.data / "run" / "endpoints.json").read_text())["department"]["address"]
    commands: list[Command] = [
        pb.RequestCollaborationRequest(
            case_id=CASE_ID, actor=officer, rules=["fire"], completion=COMPLETION_ALL_MUST_ANSWER
        ),
        pb.RecallCollaborationRequest(case_id=CASE_ID, actor=officer, collaboration_id=CONCLUDED_ID, reason="x"),
        pb.SignForTaskRequest(task_id=TASK_ID, actor=officer),
        pb.AnswerTaskRequest(task_id=TASK_ID, actor=officer, answer=answer),
        pb.ReturnTaskRequest(task_id=TASK_ID, actor=officer, reason="x"),
    ]

    async def execute() -> set[str]:
        async with DepartmentClient(address, mesh.data / "pki", ORGAN) as client:
            return {type(each.result()).__name__ async for each in client.execute_many(commands)}

    assert asyncio.run(execute()) == {
        "RequestCollaborationResponse",
        "RecallCollaborationResponse",
        "SignForTaskResponse",
        "AnswerTaskResponse",
        "ReturnTaskResponse",
    }


# --- what a lead asks ---


def requested(mesh: ToyMesh, *options: str) -> pb.RequestCollaborationRequest:
    """The request that arrives of such a command."""
    said(ronghe(mesh.data, "collaboration", "request", CASE_NO, *LEAD, *options))
    found: pb.RequestCollaborationRequest = latest(mesh)
    return found


def test_rules_are_asked_by_their_names(mesh: ToyMesh) -> None:
    found = requested(mesh, "--rule", "fire", "--rule", "traffic")
    assert (found.case_id, list(found.rules), found.completion) == (
        CASE_ID,
        ["fire", "traffic"],
        COMPLETION_ALL_MUST_ANSWER,
    )
    assert not found.others


def test_others_are_asked_by_department_and_tier_or_by_organ(mesh: ToyMesh) -> None:
    whom = ("--ask", "FIRE@district", "--ask", "fire-500106")
    found = requested(mesh, *whom, *ASKING, "--disclose", "area_m2", "--completion", "lead-decides")
    first, second = found.others
    assert (first.department, first.tier, first.organ_id) == ("FIRE", TIER_DISTRICT, "")
    assert (second.department, second.tier, second.organ_id) == ("", 0, "fire-500106")
    for each in found.others:
        assert (each.kind, each.question, each.reply_days) == (COLLABORATION_KIND_CONSULTATION, "有无影响?", 5)
        assert list(each.discloses) == ["area_m2"]
    assert found.completion == COMPLETION_LEAD_DECIDES


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--rule RULE or --ask"),
        (("--ask", "FIRE@district"), "--kind, --question and --days"),
        (("--rule", "fire", "--days", "5"), "go with --ask"),
        (("--rule", "fire", "--completion", "some"), "all, lead-decides"),
        (
            ("--ask", "FIRE@moon", "--kind", "consultation", "--question", "?", "--days", "5"),
            "municipal, district, town",
        ),
        (("--ask", "fire-500106", *ASKING, "--kind", "oversight"), "co-approval, verification, joint-site-visit"),
    ],
)
def test_what_makes_no_request_is_one_sentence(mesh: ToyMesh, options: tuple[str, ...], words: str) -> None:
    assert words in complaint(ronghe(mesh.data, "collaboration", "request", CASE_NO, *LEAD, *options))


@pytest.mark.parametrize("name", [EVENT_NO, CONCLUDED_ID])
def test_a_collaboration_is_recalled_by_its_number_or_id(mesh: ToyMesh, name: str) -> None:
    said(ronghe(mesh.data, "collaboration", "recall", name, "--reason", "申请人撤回", *LEAD))
    assert (latest(mesh).case_id, latest(mesh).collaboration_id) == (CASE_ID, CONCLUDED_ID)


def test_an_unknown_collaboration_is_one_sentence(mesh: ToyMesh) -> None:
    found = complaint(ronghe(mesh.data, "collaboration", "show", "SJ0", *AS_LEAD))
    assert found.startswith("COLLABORATION_NOT_FOUND: ")


def test_a_collaboration_shows_who_was_asked_which_way_and_who_said_what(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "collaboration", "show", EVENT_NO, *AS_LEAD))
    assert f"{ORGAN} > {CENTER} > {COLLABORATOR}" in printed
    for told in (CASE_NO, TASK_ID, HELD_ID, "agree with conditions", "夜间施工", "center/500103: 三次退回"):
        assert told in printed
    assert "by traffic-500103: 非本部门职责; it suggests police-500103" in printed


def test_an_organ_asks_the_department_server_and_others_ask_governance(mesh: ToyMesh) -> None:
    listing = ("collaboration", "list", "--state", "opened", "--case", CASE_ID)
    for party, asked in ((AS_LEAD, mesh.department), (AS_CENTER, mesh.governance), ((), mesh.governance)):
        asked.collaborations.requests.clear()
        printed = said(ronghe(mesh.data, *listing, *party))
        assert EVENT_NO in printed
        assert "1 of 2" in printed
        assert asked.collaborations.requests[-1].case_id == CASE_ID


# --- what a center does ---


def test_a_center_routes_the_task_that_waits(mesh: ToyMesh) -> None:
    assert str(CENTER) in said(ronghe(mesh.data, *ROUTE, *AS_CENTER, *OFFICER))
    request = mesh.governance.governance.routings[-1]
    assert (request.collaboration_id, request.task_id) == (CONCLUDED_ID, HELD_ID)
    assert (request.organ_id, request.reason, request.actor.id) == ("police-500103", "交通管制归公安", "0417")


def test_a_center_routes_a_named_task_to_another_center(mesh: ToyMesh) -> None:
    to = ("--to", "center/500000", "--task", TASK_ID)
    said(ronghe(mesh.data, *ROUTE[:3], *to, "--reason", "提级", *AS_CENTER, *OFFICER))
    request = mesh.governance.governance.routings[-1]
    assert (request.task_id, request.center_id, request.organ_id) == (TASK_ID, "500000", "")


def test_what_is_neither_organ_nor_center_gets_no_task(mesh: ToyMesh) -> None:
    options = ("--to", "police-500103", "--reason", "x")
    found = complaint(ronghe(mesh.data, *ROUTE[:3], *options, *AS_CENTER, *OFFICER))
    assert "organ/<id> or center/<division code>" in found


def test_hops_are_shown_task_by_task(mesh: ToyMesh) -> None:
    lines = said(ronghe(mesh.data, "collaboration", "hops", EVENT_NO, *AS_CENTER)).splitlines()
    assert [line for line in lines if line.startswith("task ")] == [f"task {TASK_ID}", f"task {HELD_ID}"]
    found = json.loads(said(ronghe(mesh.data, "collaboration", "hops", EVENT_NO, "--json")))
    assert [each["hop"]["number"] for each in found["hops"]] == [1, 1, 2, 2]


def test_a_summary_is_of_the_acting_center_unless_another_is_named(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "collaboration", "summary", *AS_CENTER))
    assert printed.startswith("center/500103\n")
    assert COLLABORATOR.id in printed
    assert said(ronghe(mesh.data, "collaboration", "summary", "--center", "500000")).startswith("center/500000\n")


ACTS = (
    (("task", "sign", TASK_ID), "--as organ/<id>"),
    (("task", "answer", TASK_ID, "--opinion", "agree"), "--as organ/<id>"),
    (("task", "return", TASK_ID, "--reason", "x"), "--as organ/<id>"),
    (("collaboration", "request", CASE_NO, "--rule", "fire"), "--as organ/<id>"),
    (("collaboration", "recall", EVENT_NO, "--reason", "x"), "--as organ/<id>"),
    (ROUTE, "--as center/<division code>"),
)


@pytest.mark.parametrize(("act", "words"), ACTS, ids=lambda value: value[1] if isinstance(value, tuple) else "")
def test_nobody_acts_by_default(mesh: ToyMesh, act: tuple[str, ...], words: str) -> None:
    assert words in complaint(ronghe(mesh.data, *act, *OFFICER))
    party = AS_CENTER if "center" in words else AS_LEAD
    assert "--officer ID:NAME" in complaint(ronghe(mesh.data, *act, *party))


READS: tuple[tuple[tuple[str, ...], type[Message]], ...] = (
    (("task", "list", *AS_COLLABORATOR), pb.ListTasksResponse),
    (("task", "show", TASK_ID, *AS_COLLABORATOR), pb.GetTaskResponse),
    (("collaboration", "list"), pb.ListCollaborationsResponse),
    (("collaboration", "show", EVENT_NO), pb.GetCollaborationResponse),
    (("collaboration", "hops", EVENT_NO), ListHopsResponse),
    (("collaboration", "summary", *AS_CENTER), GetSummaryResponse),
)


@pytest.mark.parametrize(
    ("read", "answer"), READS, ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else ""
)
def test_json_is_the_contract_s_message(mesh: ToyMesh, read: tuple[str, ...], answer: type[Message]) -> None:
    printed = said(ronghe(mesh.data, *read, "--json"))
    message = json_format.Parse(printed, answer())
    assert message.ByteSize()
    assert json_format.MessageToDict(message, preserving_proto_field_name=True) == json.loads(printed)


# --- the judgement, the decision, and what a case shows ---


def accepted(mesh: ToyMesh, *options: str) -> AcceptApplicationRequest:
    """The acceptance that arrives of such a command."""
    said(ronghe(mesh.data, "case", "accept", CASE_NO, *LEAD, *options))
    return mesh.department.department.acceptances[-1]


def test_the_judgement_is_one_of_three(mesh: ToyMesh) -> None:
    left = ("--left-out", "fire=不涉及消防通道")
    none = accepted(mesh, "--no-collaboration", "不涉及", *left).none
    assert none.reason == "不涉及"
    assert list(none.left_out) == [Judgement.LeftOut(rule="fire", reason="不涉及消防通道")]
    explicit = accepted(mesh, "--collaboration", "涉及交通", "--rule", "traffic", *left).explicit
    assert (explicit.reason, list(explicit.rules), len(explicit.left_out)) == ("涉及交通", ["traffic"], 1)
    assert accepted(mesh, "--as-proposed").WhichOneof("collaboration") == "as_proposed"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--as-proposed"),
        (("--no-collaboration", "无", "--as-proposed"), "either --no-collaboration"),
        (("--as-proposed", "--rule", "fire"), "--rule goes with --collaboration"),
        (("--as-proposed", "--left-out", "fire=无"), "leaves no rule out"),
        (("--no-collaboration", "无", "--left-out", "fire"), "RULE=REASON"),
    ],
)
def test_what_makes_no_judgement_is_one_sentence(mesh: ToyMesh, options: tuple[str, ...], words: str) -> None:
    assert words in complaint(ronghe(mesh.data, "case", "accept", CASE_NO, *LEAD, *options))


def decided(mesh: ToyMesh, *options: str) -> DecideApplicationRequest:
    """The decision that arrives of such a command."""
    said(ronghe(mesh.data, "case", "decide", CASE_NO, *LEAD, "--grant", "ZM-1", *options))
    return mesh.department.department.decisions[-1]


def test_a_decision_cites_nothing_that_the_officer_does_not_name(mesh: ToyMesh) -> None:
    assert not decided(mesh).citations


@pytest.mark.parametrize("name", [EVENT_NO, EVENT_NO.lower(), CONCLUDED_ID, "all"])
def test_a_decision_cites_what_is_named_with_its_round(mesh: ToyMesh, name: str) -> None:
    citation = DecideApplicationRequest.Citation(collaboration_id=CONCLUDED_ID, round=1)
    assert list(decided(mesh, "--rely-on", name).citations) == [citation]
    assert list(decided(mesh, "--rely-on", name, "--rely-on", EVENT_NO).citations) == [citation]


def test_all_names_what_was_answered_before_it_was_recalled(mesh: ToyMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    found = cli_toys.case()
    found.collaborations[0].state = Collaboration.STATE_RECALLED
    monkeypatch.setattr(cli_toys, "case", lambda: found)
    assert [each.collaboration_id for each in decided(mesh, "--rely-on", "all").citations] == [CONCLUDED_ID]
    found.collaborations[0].tasks[0].answer_late = True
    assert not decided(mesh, "--rely-on", "all").citations


def test_a_decision_cites_only_collaborations_of_its_case(mesh: ToyMesh) -> None:
    found = complaint(ronghe(mesh.data, "case", "decide", CASE_NO, *LEAD, "--grant", "ZM-1", "--rely-on", "SJ0"))
    assert f"it has {EVENT_NO}, " in found


def test_a_decision_explains_what_it_overrides(mesh: ToyMesh) -> None:
    override = decided(mesh, "--override", f"{TASK_ID}=已另行安排通道").overrides[0]
    assert (override.task_id, override.explanation) == (TASK_ID, "已另行安排通道")


def test_a_defect_names_the_task_that_it_passes_on(mesh: ToyMesh) -> None:
    defects = ("--defect", f"平面图|缺少|补交||{TASK_ID}", "--defect", "表|未签|补签|法")
    said(ronghe(mesh.data, "case", "correct", CASE_NO, *LEAD, *defects))
    first, second = mesh.department.department.notices[-1].defects
    assert (first.basis, first.task_id) == ("", TASK_ID)
    assert (second.basis, second.task_id) == ("法", "")


def test_a_case_shows_how_its_collaborations_stand(mesh: ToyMesh) -> None:
    printed = said(ronghe(mesh.data, "case", "show", CASE_NO, *AS_LEAD))
    line = next(each for each in printed.splitlines() if each.startswith(EVENT_NO))
    assert "concluded" in line
    line = next(each for each in printed.splitlines() if TASK_ID in each)
    assert "fire-500103 消防" in line
    assert "agree with conditions: 夜间施工" in line
    assert "fire, traffic" in printed
    # One that is not opened yet has no number and no tasks.
    assert next(each for each in printed.splitlines() if each.startswith(REQUESTED_ID)).split()[-1] == "requested"
    assert "parks" in printed
