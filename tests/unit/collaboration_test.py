"""Collaborations through all three machines: asked for, routed through the tiers, answered, relied on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any, cast

import pytest

from clients.identity import Identity
from clients.telemetry import SpanContext
from ronghe.access.v1.access_pb2 import Scope
from ronghe.case.v1 import case_pb2
from ronghe.case.v1.case_service_pb2 import ListCasesRequest
from ronghe.catalog.v1.catalog_pb2 import SILENCE_POLICY_DEEMED_AGREED, SILENCE_POLICY_ESCALATE, Place
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import (
    COMPLETION_LEAD_DECIDES,
    Answer,
    Collaboration,
    Hop,
    Task,
)
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from servers.case.service import page_of_cases
from servers.case.views import CaseView
from servers.kernel.kernel import Kernel
from servers.kernel.stream import Refused
from servers.rpc.call import Call
from servers.rpc.paging import Pages
from tests import builders
from tests.builders import INTAKE, JIEFANGBEI, LEAD

POLICE = "traffic-police-500103"
TOWN = f"town-gov-{JIEFANGBEI}"
SHAPINGBA = "500106"


class Stage:
    """One accepted case, and everybody who may act on it."""

    def __init__(self, *places: str, item_code: str = builders.ROAD_WORKS) -> None:
        self.mesh = builders.mesh()
        where = [Place(division=place) for place in places or (JIEFANGBEI,)]
        submission = builders.submission(self.mesh.clock.now, item_code, places=where)
        self.case_id = self.mesh.intake.execute(submission, INTAKE).case_id
        self.mesh.settle()
        self.lead(builders.acceptance(self.case_id, self.now, as_proposed=builders.as_proposed()))

    @property
    def now(self) -> Any:
        return self.mesh.clock.advance(minutes=1)

    @property
    def case(self) -> case_pb2.Case:
        (case,) = self.mesh.department.cases()
        return case

    @property
    def at_the_center(self) -> Collaboration:
        return list(self.mesh.governance.states("collaboration").values())[-1].collaboration

    def lead(self, command: Any) -> Any:
        answer = self.mesh.department.execute(command, LEAD)
        self.mesh.settle()
        return answer

    def ask(self, *rules: str, **fields: Any) -> Collaboration:
        self.lead(builders.asking(self.case_id, self.now, *rules, **fields))
        return self.at_the_center

    def organ(self, organ_id: str, command: Any, *, settle: bool = True) -> Any:
        answer = self.mesh.department.execute(command, Identity("organ", organ_id))
        if settle:
            self.mesh.settle()
        return answer

    def center(self, center_id: str, command: Any) -> Any:
        answer = self.mesh.governance.execute(command, Identity("center", center_id))
        self.mesh.settle()
        return answer

    def task_of(self, organ_id: str) -> Task:
        states = self.mesh.department.states("task").items()
        return next(state.task for name, state in reversed(list(states)) if name.startswith(f"{organ_id}/"))

    def answer(self, organ_id: str, opinion: int = Answer.OPINION_AGREE, *, settle: bool = True) -> None:
        self.organ(organ_id, builders.signing(self.task_of(organ_id).task_id, self.now))
        self.answer_signed(organ_id, opinion, settle=settle)

    def answer_signed(self, organ_id: str, opinion: int = Answer.OPINION_AGREE, *, settle: bool = True) -> None:
        self.organ(organ_id, builders.answering(self.task_of(organ_id), self.now, opinion), settle=settle)

    def grant(self, **fields: Any) -> Any:
        return self.lead(builders.grant(self.case_id, self.now, self.case.version, **fields))

    def agreed(self) -> Collaboration:
        """The lead's view is the center's, and nobody's record was set aside."""
        for name, state in self.mesh.governance.states("collaboration").items():
            seen = self.mesh.department.states("collaboration")[name].collaboration
            assert _without_version(seen) == _without_version(state.collaboration)
        assert not any(machine.parked for machine in self.mesh.machines)
        return self.at_the_center


def _without_version(collaboration: Collaboration) -> bytes:
    copy = Collaboration()
    copy.CopyFrom(collaboration)
    copy.ClearField("version")
    return copy.SerializeToString(deterministic=True)


def refused(stage_act: Any, *arguments: Any, **fields: Any) -> "Reason.ValueType":
    with pytest.raises(Refused) as caught:
        stage_act(*arguments, **fields)
    return caught.value.reason


def ways(collaboration: Collaboration) -> list[list[str]]:
    return [[hop.to for hop in task.hops] for task in collaboration.tasks]


def test_within_a_district_the_districts_center_routes_to_its_own_departments_and_down_to_the_town() -> None:
    stage = Stage()
    opened = stage.ask("traffic-police", "town-gov")
    assert opened.state == Collaboration.STATE_OPENED
    assert opened.event_no.startswith("XT500103")
    assert opened.center_id == "500103"
    assert opened.receipt.number == stage.case.documents[1].number
    assert ways(opened) == [
        ["center/500103", f"organ/{POLICE}"],
        ["center/500103", f"center/{JIEFANGBEI}", f"organ/{TOWN}"],
    ]
    assert [hop.reason for hop in opened.tasks[1].hops] == [
        Hop.REASON_REQUESTED,
        Hop.REASON_DOWN,
        Hop.REASON_DISPATCHED,
    ]
    stage.agreed()


def test_across_districts_the_municipal_center_is_on_the_way() -> None:
    stage = Stage(JIEFANGBEI, f"{SHAPINGBA}001")
    opened = stage.ask("traffic-police")
    assert opened.center_id == "500000"
    assert ways(opened) == [
        ["center/500103", f"organ/{POLICE}"],
        ["center/500103", "center/500000", f"center/{SHAPINGBA}", f"organ/traffic-police-{SHAPINGBA}"],
    ]
    stage.agreed()


def test_a_municipal_department_is_reached_upwards() -> None:
    stage = Stage()
    other = pb.RequestCollaborationRequest.Other(
        organ_id="planning-500000", kind=1, question="是否符合规划", reply_days=2, discloses=["area_m2"]
    )
    opened = stage.ask(others=[other])
    assert ways(opened) == [["center/500103", "center/500000", "organ/planning-500000"]]
    assert [value.name for value in stage.task_of("planning-500000").brief.form] == ["area_m2"]


def test_several_places_of_one_organ_are_one_task() -> None:
    stage = Stage(JIEFANGBEI, "500103005")
    opened = stage.ask("traffic-police", "town-gov")
    assert [len(task.brief.places) for task in opened.tasks] == [2, 1, 1]


def test_all_answers_conclude_it_and_the_decision_cites_it_and_carries_conditions_over() -> None:
    stage = Stage()
    asked = stage.ask("traffic-police", "town-gov")
    stage.answer(POLICE, Answer.OPINION_AGREE_WITH_CONDITIONS)
    assert refused(stage.grant) == Reason.REASON_COLLABORATION_OPEN
    stage.answer(TOWN)
    assert stage.agreed().state == Collaboration.STATE_CONCLUDED
    assert refused(stage.grant) == Reason.REASON_COLLABORATION_NOT_CITED
    decision = stage.grant(citations=builders.cite(stage.case)).decision
    assert any("夜间施工（" in condition for condition in decision.conditions)
    assert any("渝中公交管2026第1号" in line for line in decision.opinions)
    (decided,) = [record.fact for record in stage.mesh.intake.journal if isinstance(record.fact, event.Decided)]
    assert decided.collaborations == [asked.collaboration_id]


def test_whom_the_law_requires_must_agree_before_it_is_granted() -> None:
    stage = Stage()
    assert refused(stage.grant) == Reason.REASON_REQUIRED_COLLABORATION_MISSING
    stage.ask("traffic-police")
    stage.answer(POLICE, Answer.OPINION_DISAGREE)
    cited = builders.cite(stage.case)
    override = [{"task_id": stage.task_of(POLICE).task_id, "explanation": "已采取措施"}]
    assert refused(stage.grant, citations=cited) == Reason.REASON_REQUIRED_COLLABORATION_MISSING
    assert refused(stage.grant, citations=cited, overrides=override) == Reason.REASON_REQUIRED_COLLABORATION_MISSING
    again = stage.ask("traffic-police")
    assert again.round == 2
    stage.answer(POLICE)
    stage.grant(citations=builders.cite(stage.case))
    assert stage.case.outcome == case_pb2.OUTCOME_GRANTED


async def test_a_list_of_cases_says_who_was_asked_without_what_he_answered() -> None:
    """There would be few on a page otherwise."""
    stage = Stage()
    stage.ask("traffic-police")
    police = stage.task_of(POLICE)
    stage.organ(POLICE, builders.signing(police.task_id, stage.now))
    command = builders.answering(police, stage.now, Answer.OPINION_DISAGREE)
    command.answer.reasons[:] = ["理由" * 500] * 20
    stage.organ(POLICE, command)
    assert stage.case.ByteSize() > 60_000
    page = await page_of_cases(
        cast("Kernel", AtOnce()),
        cast("CaseView", OneCase(stage.case)),
        Pages(b"a key of sixteen bytes"),
        ListCasesRequest(page_size=500),
        [],
        Call(LEAD, Scope.SCOPE_OWN, "ListCases", 60, SpanContext(1, 2)),
    )
    for case in page.rows:
        assert [task.organ_id for one in case.collaborations for task in one.tasks] == [POLICE]
        assert case.ByteSize() < 10_000


class AtOnce:
    """A kernel without a database."""

    async def read(self, query: Callable[[Any], Any]) -> Any:
        return query(None)


@dataclass
class OneCase:
    """A view that has one case many times."""

    case: case_pb2.Case

    def own(self, *_: object) -> list[Any]:
        return []

    def page(self, _connection: object, _bounds: object, _after: object, limit: int) -> list[case_pb2.Case]:
        return [case_pb2.Case.FromString(self.case.SerializeToString()) for _ in range(limit)]


def test_a_disagreement_is_overridden_with_an_explanation_only() -> None:
    stage = Stage()
    stage.ask("traffic-police", "town-gov")
    stage.answer(POLICE)
    stage.answer(TOWN, Answer.OPINION_DISAGREE)
    cited = builders.cite(stage.case)
    assert refused(stage.grant, citations=cited) == Reason.REASON_DISAGREEMENT_NOT_EXPLAINED
    override = [{"task_id": stage.task_of(TOWN).task_id, "explanation": "现场已整改"}]
    decision = stage.grant(citations=cited, overrides=override).decision
    assert any("现场已整改" in line for line in decision.opinions)


def test_need_of_material_ends_the_round_and_the_next_one_counts() -> None:
    stage = Stage()
    stage.ask("traffic-police")
    stage.answer(POLICE, Answer.OPINION_NEED_MORE_MATERIAL)
    assert stage.agreed().state == Collaboration.STATE_CONCLUDED
    assert refused(stage.grant, citations=builders.cite(stage.case)) == Reason.REASON_REQUIRED_COLLABORATION_MISSING
    stage.ask("traffic-police")
    stage.answer(POLICE)
    stage.grant(citations=builders.cite(stage.case))


def test_who_is_required_is_not_left_out_silently() -> None:
    stage = Stage.__new__(Stage)
    stage.mesh = builders.mesh()
    case_id = stage.mesh.intake.execute(builders.submission(stage.mesh.clock.now), INTAKE).case_id
    stage.mesh.settle()
    silent = builders.acceptance(case_id, stage.now)
    del silent.none.left_out[:]
    assert refused(stage.lead, silent) == Reason.REASON_REQUIRED_COLLABORATOR_LEFT_OUT
    stage.lead(builders.acceptance(case_id, stage.now))
    stage.case_id = case_id
    stage.grant()


def test_a_rule_is_not_asked_twice_at_once() -> None:
    stage = Stage()
    stage.ask("traffic-police")
    assert refused(stage.ask, "traffic-police") == Reason.REASON_ALREADY_ASKED


ADVERTISING = "IT-003"
ECONOMY, MARKET = "econ-info-500103", "market-reg-500103"


def test_not_my_duty_goes_to_the_organ_that_was_suggested() -> None:
    stage = Stage()
    stage.ask("econ-info")
    stage.organ(ECONOMY, builders.returning(stage.task_of(ECONOMY).task_id, stage.now, "emergency-500103"))
    (task,) = stage.agreed().tasks
    assert (task.organ.id, task.assignment, task.bounces) == ("emergency-500103", 2, 1)
    assert [hop.reason for hop in task.hops[2:]] == [Hop.REASON_RETURNED, Hop.REASON_DISPATCHED]
    assert refused(stage.answer, ECONOMY) == Reason.REASON_ILLEGAL_STATE
    stage.answer("emergency-500103")
    assert stage.agreed().state == Collaboration.STATE_CONCLUDED


def test_after_three_returns_an_officer_of_the_coordinating_center_routes_it() -> None:
    stage = Stage()
    opened = stage.ask("econ-info")
    for organ, suggested in (
        (ECONOMY, "emergency-500103"),
        ("emergency-500103", "fire-500103"),
        ("fire-500103", "housing-500103"),
    ):
        stage.organ(organ, builders.returning(stage.task_of(organ).task_id, stage.now, suggested))
    (task,) = stage.agreed().tasks
    assert (task.state, task.waiting_at) == (Task.STATE_WAITING_FOR_OFFICER, "500103")
    assert [record.fact.task_id for record in stage.mesh.governance.inboxes["center/500103"]] == [task.task_id]
    route = builders.routing(opened.collaboration_id, task.task_id, stage.now, organ_id=ECONOMY)
    assert refused(stage.center, "500106", route) == Reason.REASON_COLLABORATION_NOT_FOUND
    hops = stage.center("500103", route).hops
    assert [(hop.reason, hop.officer.id) for hop in hops] == [(Hop.REASON_MANUAL, "007")]
    stage.answer(ECONOMY)
    assert stage.agreed().state == Collaboration.STATE_CONCLUDED


@pytest.mark.parametrize(
    ("item_code", "rule", "asked", "suggested"),
    [
        (builders.ROAD_WORKS, "traffic-police", POLICE, "culture-500103"),
        (ADVERTISING, "market-reg", MARKET, "culture-500106"),
    ],
)
def test_what_the_law_wants_of_one_department_follows_no_suggestion_to_another(
    item_code: str, rule: str, asked: str, suggested: str
) -> None:
    stage = Stage(item_code=item_code)
    stage.ask(rule)
    stage.organ(asked, builders.returning(stage.task_of(asked).task_id, stage.now, suggested))
    (task,) = stage.agreed().tasks
    assert (task.state, task.waiting_at) == (Task.STATE_WAITING_FOR_OFFICER, stage.at_the_center.center_id)
    assert suggested in task.waiting_because
    assert f"organ/{suggested}" not in stage.mesh.department.inboxes


def test_what_the_law_wants_of_a_department_follows_a_suggestion_within_it() -> None:
    stage = Stage()
    stage.ask("traffic-police")
    stage.organ(POLICE, builders.returning(stage.task_of(POLICE).task_id, stage.now, "traffic-police-500106"))
    assert stage.agreed().tasks[0].organ.id == "traffic-police-500106"
    assert stage.task_of("traffic-police-500106").brief.required


def test_the_agreement_of_whom_an_officer_found_competent_counts() -> None:
    stage = Stage()
    stage.ask("traffic-police")
    stage.organ(POLICE, builders.returning(stage.task_of(POLICE).task_id, stage.now, "public-security-500103"))
    (task,) = stage.agreed().tasks
    route = builders.routing(task.collaboration_id, task.task_id, stage.now, organ_id="public-security-500103")
    stage.center("500103", route)
    stage.answer("public-security-500103")
    stage.grant(citations=builders.cite(stage.case))
    assert stage.case.outcome == case_pb2.OUTCOME_GRANTED


def test_silence_of_whom_only_an_officer_named_is_no_agreement_until_it_is_the_asked_departments_again() -> None:
    stage = Stage(item_code=ADVERTISING)
    (task,) = stage.ask("market-reg").tasks
    policies = []
    for organ_id in ("culture-500103", "market-reg-500000"):
        route = builders.routing(task.collaboration_id, task.task_id, stage.now, organ_id=organ_id)
        stage.center("500103", route)
        brief = stage.task_of(organ_id).brief
        policies.append((brief.silence_policy, brief.silence_basis))
    asked = stage.at_the_center.asks[0]
    assert policies == [(SILENCE_POLICY_ESCALATE, ""), (asked.silence_policy, asked.silence_basis)]
    assert asked.silence_policy == SILENCE_POLICY_DEEMED_AGREED


def test_a_place_for_which_no_rule_finds_an_organ_waits_for_an_officer() -> None:
    stage = Stage("500103")
    (task,) = stage.ask("town-gov").tasks
    assert task.state == Task.STATE_WAITING_FOR_OFFICER
    assert "TOWN_GOV" in task.waiting_because
    route = builders.routing(task.collaboration_id, task.task_id, stage.now, organ_id=TOWN)
    stage.center("500103", route)
    stage.answer(TOWN)
    assert stage.agreed().state == Collaboration.STATE_CONCLUDED


def test_an_officer_hands_a_task_to_another_center_and_that_one_routes_it() -> None:
    stage = Stage()
    (task,) = stage.ask("traffic-police").tasks
    stage.center("500103", builders.routing(task.collaboration_id, task.task_id, stage.now, center_id="500000"))
    assert stage.task_of(POLICE).state == Task.STATE_RECALLED
    assert stage.agreed().tasks[0].waiting_at == "500000"
    wrong = builders.routing(task.collaboration_id, task.task_id, stage.now, organ_id=POLICE)
    assert refused(stage.center, "500103", wrong) == Reason.REASON_TASK_HELD_ELSEWHERE
    stage.center(
        "500000",
        builders.routing(task.collaboration_id, task.task_id, stage.now, organ_id="traffic-police-500000"),
    )
    stage.answer("traffic-police-500000")
    assert stage.agreed().state == Collaboration.STATE_CONCLUDED


GONE = "500105"
"""A district that ended on 2026-01-24, with its center and its organs."""


def test_an_officer_gives_a_task_neither_to_an_organ_nor_to_a_center_that_is_no_more() -> None:
    stage = Stage()
    (task,) = stage.ask("traffic-police").tasks
    for to, reason in (
        ({"organ_id": f"fire-{GONE}"}, Reason.REASON_ORGAN_NOT_FOUND),
        ({"center_id": GONE}, Reason.REASON_CENTER_NOT_FOUND),
    ):
        command = builders.routing(task.collaboration_id, task.task_id, stage.now, **to)
        assert refused(stage.center, "500103", command) == reason
    assert stage.agreed().tasks[0].organ.id == POLICE


def test_a_lead_that_names_an_organ_which_is_no_more_by_the_opening_leaves_it_to_an_officer() -> None:
    stage = Stage()
    other = pb.RequestCollaborationRequest.Other(
        organ_id="planning-500000", kind=1, question="是否符合规划", reply_days=2
    )
    asking = builders.asking(stage.case_id, stage.now, others=[other])
    stage.mesh.department.execute(asking, LEAD)
    request = stage.mesh.department.journal[-1].fact
    assert isinstance(request, event.CollaborationRequested)
    request.collaboration.asks[0].organ_id = f"planning-{GONE}"
    stage.mesh.settle()
    (task,) = stage.at_the_center.tasks
    assert (task.state, task.waiting_at) == (Task.STATE_WAITING_FOR_OFFICER, "500103")
    assert f"planning-{GONE}" in task.waiting_because


@pytest.mark.parametrize(("seconds_before", "is_refused"), [(119, False), (121, True), (24 * 3600, True)])
def test_an_officer_routes_no_task_before_it_was_where_it_is(seconds_before: int, *, is_refused: bool) -> None:
    """The time to sign for it would be past at once, and its hops would stand in another order than in time."""
    stage = Stage()
    asked = stage.now
    stage.mesh.clock.now += timedelta(days=3)
    # The request is told late: only the hops are of today.
    stage.lead(builders.asking(stage.case_id, asked, "traffic-police"))
    (task,) = stage.at_the_center.tasks
    at = task.assigned_at.ToDatetime(UTC) - timedelta(seconds=seconds_before)
    command = builders.routing(task.collaboration_id, task.task_id, at, organ_id="traffic-police-500106")
    if is_refused:
        assert refused(stage.center, "500103", command) == Reason.REASON_OCCURRED_AT_OUT_OF_RANGE
    else:
        stage.center("500103", command)


def test_what_an_officer_did_is_not_overtaken_in_time_by_the_next_one() -> None:
    stage = Stage()
    (task,) = stage.ask("traffic-police").tasks
    done = stage.now
    route = builders.routing(task.collaboration_id, task.task_id, done, organ_id="traffic-police-500106")
    stage.center("500103", route)
    back = builders.routing(task.collaboration_id, task.task_id, done - timedelta(seconds=1), organ_id=POLICE)
    assert refused(stage.center, "500000", back) == Reason.REASON_OCCURRED_AT_OUT_OF_RANGE


def test_a_recall_takes_the_open_tasks_back_and_tells_their_organs() -> None:
    stage = Stage()
    asked = stage.ask("traffic-police", "town-gov")
    stage.answer(TOWN)
    stage.lead(builders.recall(stage.case_id, stage.now, asked.collaboration_id))
    ended = stage.agreed()
    assert ended.state == Collaboration.STATE_RECALLED
    assert [task.state for task in ended.tasks] == [Task.STATE_RECALLED, Task.STATE_ANSWERED]
    told = [type(record.fact) for record in stage.mesh.department.inboxes[f"organ/{POLICE}"]]
    assert told == [event.TaskAssigned, event.TaskRecalled]
    assert stage.task_of(POLICE).state == Task.STATE_RECALLED


def test_an_answer_that_crosses_the_recall_is_kept_and_marked_late_on_all_sides() -> None:
    stage = Stage()
    asked = stage.ask("traffic-police")
    stage.organ(POLICE, builders.signing(stage.task_of(POLICE).task_id, stage.now))
    recall = builders.recall(stage.case_id, stage.now, asked.collaboration_id)
    stage.mesh.department.execute(recall, LEAD)
    stage.organ(POLICE, builders.answering(stage.task_of(POLICE), stage.now))
    ended = stage.agreed()
    assert (ended.state, ended.tasks[0].state) == (Collaboration.STATE_RECALLED, Task.STATE_RECALLED)
    assert ended.tasks[0].answer_late
    assert stage.task_of(POLICE).answer_late
    assert stage.case.collaborations[0].tasks[0].answer_late


def test_a_recall_that_crosses_the_last_answer_comes_too_late() -> None:
    stage = Stage()
    asked = stage.ask("traffic-police")
    stage.organ(POLICE, builders.signing(stage.task_of(POLICE).task_id, stage.now))
    stage.organ(POLICE, builders.answering(stage.task_of(POLICE), stage.now), settle=False)
    stage.lead(builders.recall(stage.case_id, stage.now, asked.collaboration_id))
    assert stage.agreed().state == Collaboration.STATE_CONCLUDED
    assert not stage.case.collaborations[0].recall_requested


def test_a_withdrawal_recalls_what_was_asked_and_the_collaborators_are_told() -> None:
    stage = Stage()
    stage.ask("traffic-police", "town-gov")
    stage.mesh.intake.execute(builders.withdrawal(stage.case_id, stage.now), INTAKE)
    stage.mesh.settle()
    assert stage.case.outcome == case_pb2.OUTCOME_WITHDRAWN
    assert stage.agreed().state == Collaboration.STATE_RECALLED
    assert {stage.task_of(organ).state for organ in (POLICE, TOWN)} == {Task.STATE_RECALLED}


def test_the_lead_decides_when_it_has_enough_and_later_answers_are_late() -> None:
    stage = Stage()
    stage.ask("traffic-police", "town-gov", completion=COMPLETION_LEAD_DECIDES)
    stage.answer(POLICE)
    stage.organ(TOWN, builders.signing(stage.task_of(TOWN).task_id, stage.now))
    grant = builders.grant(stage.case_id, stage.now, stage.case.version, citations=builders.cite(stage.case))
    stage.organ(TOWN, builders.answering(stage.task_of(TOWN), stage.now), settle=False)
    stage.mesh.department.execute(grant, LEAD)
    stage.mesh.settle()
    assert stage.case.outcome == case_pb2.OUTCOME_GRANTED
    (standing,) = stage.case.collaborations
    # The answer left first: the center concluded before the recall reached it.
    assert standing.state == Collaboration.STATE_CONCLUDED
    assert [task.answer_late for task in standing.tasks] == [False, True]
    stage.agreed()
