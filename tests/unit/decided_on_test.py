"""What a decision rests on: whom the lead asked, what they said, and the form as the applicant has corrected it."""

from typing import Any

import pytest
from google.type.date_pb2 import Date

from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CONSULTATION, Place, Tier
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import COMPLETION_LEAD_DECIDES, Answer, Task
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.party.v1.party_pb2 import FormValue, PersonalSupplement
from servers.case.form import as_it_stands
from servers.kernel.stream import Refused
from tests import builders
from tests.builders import INTAKE, JIEFANGBEI, YUZHONG, catalog, lead_of
from tests.unit.collaboration_test import POLICE, TOWN, Stage, refused

BUILDING = "IT-008"
"""Civil defence must agree to a civil building from 2,000 m2 on."""
CIVIL_DEFENCE = "civil-defence-500103"
FIRE = "fire-500103"
SMALL = (FormValue(name="floor_area_m2", number=3), FormValue(name="civil_building", flag=False))
LARGE = (FormValue(name="floor_area_m2", number=30_000), FormValue(name="civil_building", flag=True))


class Submitted(Stage):
    """A case as it reaches its lead."""

    def __init__(self, item_code: str = BUILDING, division: str = YUZHONG) -> None:
        self.mesh = builders.mesh()
        places = [Place(division=division)]
        submission = builders.submission(self.mesh.clock.now, item_code, division=division, places=places)
        self.case_id = self.mesh.intake.execute(submission, INTAKE).case_id
        self.mesh.settle()

    def lead(self, command: Any) -> Any:
        answer = self.mesh.department.execute(command, lead_of(self.case))
        self.mesh.settle()
        return answer

    def accept(self) -> None:
        self.lead(builders.acceptance(self.case_id, self.now, as_proposed=builders.as_proposed()))

    def correct(self, *values: FormValue, personal: PersonalSupplement | None = None) -> None:
        """The lead asks for it, and the applicant corrects."""
        self.lead(builders.correction(self.case_id, self.now, lines=1))
        (case,) = self.mesh.intake.cases()
        answers = [case_pb2.LineAnswer(line=1, form=values)]
        self.mesh.intake.execute(builders.supplement(case, self.now, answers=answers, personal=personal), INTAKE)
        self.mesh.settle()

    def recall_last(self) -> None:
        """What was asked last."""
        self.lead(builders.recall(self.case_id, self.now, self.case.collaborations[-1].collaboration_id))

    def asked_civil_defence(self) -> dict[str, FormValue]:
        """What it is told of the form."""
        self.ask("civil-defence")
        return {value.name: value for value in self.task_of(CIVIL_DEFENCE).brief.form}


def other(organ_id: str, question: str, **fields: Any) -> pb.RequestCollaborationRequest.Other:
    return pb.RequestCollaborationRequest.Other(
        organ_id=organ_id, kind=COLLABORATION_KIND_CONSULTATION, question=question, reply_days=2, **fields
    )


def test_whoever_answers_does_not_say_of_himself_that_he_kept_silent() -> None:
    stage = Stage()
    stage.ask("traffic-police", "town-gov")
    stage.answer(POLICE)
    stage.organ(TOWN, builders.signing(stage.task_of(TOWN).task_id, stage.now))
    forged = builders.answering(stage.task_of(TOWN), stage.now, Answer.OPINION_DISAGREE)
    forged.answer.deemed = True
    stage.organ(TOWN, forged)
    assert not stage.task_of(TOWN).answer.deemed
    override = [{"task_id": forged.task_id, "explanation": "现场已整改"}]
    decision = stage.grant(citations=builders.cite(stage.case), overrides=override).decision
    assert [line for line in decision.opinions if "现场已整改" in line and "：不同意；" in line]
    assert not any("视为同意" in line for line in decision.opinions)


def test_the_judgement_is_about_the_form_as_the_applicant_corrected_it() -> None:
    stage = Submitted()
    stage.correct(*LARGE)
    stage.accept()
    assert "civil-defence" in stage.case.judgement.proposed_by_rules
    assert refused(stage.grant) == Reason.REASON_REQUIRED_COLLABORATION_MISSING
    told = stage.asked_civil_defence()
    assert [told[value.name] for value in LARGE] == list(LARGE)
    stage.answer(CIVIL_DEFENCE)
    stage.grant(citations=builders.cite(stage.case))


def test_what_is_corrected_after_the_acceptance_may_require_somebody_too() -> None:
    stage = Submitted()
    stage.accept()
    assert "civil-defence" not in stage.case.judgement.proposed_by_rules
    stage.correct(*LARGE)
    assert refused(stage.grant) == Reason.REASON_REQUIRED_COLLABORATION_MISSING
    assert stage.asked_civil_defence()["floor_area_m2"].number == 30_000
    stage.answer(CIVIL_DEFENCE)
    stage.grant(citations=builders.cite(stage.case))


def test_who_was_left_out_for_what_was_applied_for_is_not_left_out_for_what_was_corrected() -> None:
    stage = Submitted()
    none = builders.nobody("civil-defence")
    stage.lead(builders.acceptance(stage.case_id, stage.now, none=none))
    stage.correct(*LARGE)
    assert refused(stage.grant) == Reason.REASON_REQUIRED_COLLABORATION_MISSING


def test_who_was_left_out_with_a_reason_stays_left_out() -> None:
    stage = Submitted()
    stage.correct(*LARGE)
    stage.lead(builders.acceptance(stage.case_id, stage.now, none=builders.nobody("civil-defence")))
    stage.correct(LARGE[0])
    stage.grant()


def test_the_last_correction_counts_and_leaves_the_rest_of_the_form() -> None:
    stage = Submitted()
    stage.correct(*LARGE)
    stage.correct(SMALL[0])
    stage.accept()
    told = stage.asked_civil_defence()
    assert told["floor_area_m2"] == SMALL[0]
    assert told["civil_building"] == LARGE[1]
    assert told["project_name"].text == "自编"
    stage.recall_last()
    stage.grant()


def test_a_correction_that_came_too_late_corrects_nothing() -> None:
    applied = case_pb2.Application(form=SMALL)
    given = case_pb2.Supplement(answers=[case_pb2.LineAnswer(line=1, form=LARGE)])
    late = case_pb2.Supplement(answers=[case_pb2.LineAnswer(line=1, form=SMALL)], late=True)
    assert list(as_it_stands(case_pb2.Case(application=applied, supplements=[late])).form) == list(SMALL)
    assert list(as_it_stands(case_pb2.Case(application=applied, supplements=[given, late])).form) == list(LARGE)


def test_whom_the_lead_asks_beyond_the_rules_is_told_what_was_corrected() -> None:
    stage = Submitted()
    stage.accept()
    stage.correct(*LARGE)
    stage.ask(others=[other(FIRE, "消防条件如何", discloses=["floor_area_m2"])])
    assert list(stage.task_of(FIRE).brief.form) == [LARGE[0]]


def test_personal_values_are_corrected_too() -> None:
    stage = Submitted(builders.ALLOWANCE, JIEFANGBEI)
    stage.accept()
    corrected = FormValue(name="household_register_no", text="更正")
    stage.correct(personal=PersonalSupplement(form=[corrected]))
    (ask,) = stage.ask("public-security").asks
    assert list(ask.personal.form) == [corrected]
    assert ask.personal.applicant.name == "张三"
    assert corrected not in stage.case.application.personal.form


def override(task_id: str) -> list[dict[str, str]]:
    return [{"task_id": task_id, "explanation": "已采取措施"}]


def test_whom_the_law_requires_must_agree_wherever_he_was_asked() -> None:
    stage = Submitted()
    stage.correct(*LARGE)
    stage.lead(builders.acceptance(stage.case_id, stage.now, none=builders.nobody("civil-defence")))
    stage.ask("civil-defence")
    stage.answer(CIVIL_DEFENCE, Answer.OPINION_DISAGREE)
    overrides = override(stage.task_of(CIVIL_DEFENCE).task_id)
    grant = {"citations": builders.cite(stage.case), "overrides": overrides}
    assert refused(stage.grant, **grant) == Reason.REASON_REQUIRED_COLLABORATION_MISSING
    stage.ask("civil-defence")
    stage.answer(CIVIL_DEFENCE)
    stage.grant(citations=builders.cite(stage.case))


def test_whom_the_law_requires_must_agree_also_where_the_lead_need_not_wait_for_him() -> None:
    stage = Submitted()
    stage.correct(*LARGE)
    stage.lead(builders.acceptance(stage.case_id, stage.now, none=builders.nobody("civil-defence")))
    stage.ask("civil-defence", completion=COMPLETION_LEAD_DECIDES)
    assert refused(stage.grant) == Reason.REASON_REQUIRED_COLLABORATION_MISSING
    stage.recall_last()
    stage.grant()


def test_whom_the_law_does_not_require_is_followed_or_not_with_a_reason() -> None:
    stage = Submitted()
    stage.accept()
    (ask,) = stage.ask("civil-defence").asks
    assert not ask.required
    stage.answer(CIVIL_DEFENCE, Answer.OPINION_DISAGREE)
    cited = builders.cite(stage.case)
    assert refused(stage.grant, citations=cited) == Reason.REASON_DISAGREEMENT_NOT_EXPLAINED
    stage.grant(citations=cited, overrides=override(stage.task_of(CIVIL_DEFENCE).task_id))


def test_a_correction_that_takes_the_reason_away_releases_whom_the_law_required() -> None:
    stage = Submitted()
    stage.correct(*LARGE)
    stage.accept()
    assert refused(stage.grant) == Reason.REASON_REQUIRED_COLLABORATION_MISSING
    stage.correct(*SMALL)
    stage.grant()


@pytest.mark.parametrize("first", [SMALL, (FormValue(name="floor_area_m2", number=5_000), LARGE[1])])
def test_an_agreement_to_what_was_corrected_since_is_none(first: tuple[FormValue, ...]) -> None:
    stage = Submitted()
    stage.correct(*first)
    stage.accept()
    stage.ask("civil-defence")
    stage.answer(CIVIL_DEFENCE)
    stage.correct(*LARGE)
    cited = builders.cite(stage.case)
    assert refused(stage.grant, citations=cited) == Reason.REASON_REQUIRED_COLLABORATION_MISSING
    stage.ask("civil-defence")
    stage.answer(CIVIL_DEFENCE)
    stage.correct(FormValue(name="key_municipal_project", flag=False))  # which civil defence was not told
    stage.grant(citations=builders.cite(stage.case))


def test_a_recall_releases_nobody_whom_the_form_as_it_stands_requires() -> None:
    stage = Submitted()
    stage.accept()
    stage.ask("civil-defence")
    stage.correct(*LARGE)
    stage.recall_last()
    assert refused(stage.grant) == Reason.REASON_REQUIRED_COLLABORATION_MISSING


def test_a_question_that_is_being_recalled_still_requires_its_answer() -> None:
    stage = Submitted()
    stage.correct(*LARGE)
    stage.lead(builders.acceptance(stage.case_id, stage.now, none=builders.nobody("civil-defence")))
    asked = stage.ask("civil-defence")
    recall = builders.recall(stage.case_id, stage.now, asked.collaboration_id)
    stage.mesh.department.execute(recall, lead_of(stage.case))
    assert refused(stage.grant) == Reason.REASON_REQUIRED_COLLABORATION_MISSING
    stage.mesh.settle()
    stage.grant()


def test_an_answer_to_another_question_takes_nothing_back() -> None:
    stage = Submitted()
    stage.accept()
    stage.ask(others=[other(FIRE, "消防车道是否畅通")])
    stage.answer(FIRE, Answer.OPINION_DISAGREE)
    against = stage.task_of(FIRE).task_id
    stage.ask(others=[other(FIRE, "消防水源是否充足")])
    stage.answer(FIRE, Answer.OPINION_AGREE_WITH_CONDITIONS)
    cited = builders.cite(stage.case)
    assert refused(stage.grant, citations=cited) == Reason.REASON_DISAGREEMENT_NOT_EXPLAINED
    decision = stage.grant(citations=cited, overrides=override(against)).decision
    assert [line.partition("：")[2] for line in decision.opinions] == ["不同意；未采纳理由：已采取措施", "附条件同意"]
    assert any("夜间施工（" in condition for condition in decision.conditions)


def test_an_answer_to_the_same_question_in_a_further_round_replaces_the_earlier_one() -> None:
    stage = Submitted()
    stage.accept()
    stage.ask(others=[other(FIRE, "消防车道是否畅通")])
    stage.answer(FIRE, Answer.OPINION_DISAGREE)
    by_type = pb.RequestCollaborationRequest.Other(
        department="FIRE",
        tier=Tier.TIER_DISTRICT,
        kind=COLLABORATION_KIND_CONSULTATION,
        question="消防车道是否畅通",
        reply_days=5,
    )
    for again in (other(FIRE, "消防车道是否畅通"), by_type):
        stage.ask(others=[again])
        stage.answer(FIRE)
    decision = stage.grant(citations=builders.cite(stage.case)).decision
    assert [line.partition("：")[2] for line in decision.opinions] == ["同意"]


@pytest.mark.parametrize("ending", ["open", "recalled"])
def test_a_decision_cites_whatever_it_relies_on(ending: str) -> None:
    stage = Submitted()
    stage.accept()
    stage.ask("planning", "urban-mgmt", completion=COMPLETION_LEAD_DECIDES)
    stage.answer("planning-500103", Answer.OPINION_AGREE_WITH_CONDITIONS)
    if ending == "recalled":
        stage.recall_last()
    assert refused(stage.grant) == Reason.REASON_COLLABORATION_NOT_CITED
    denial = builders.denial(stage.case_id, stage.now, stage.case.version)
    assert refused(stage.lead, denial) == Reason.REASON_COLLABORATION_NOT_CITED
    decision = stage.grant(citations=builders.cite(stage.case)).decision
    assert [line.partition("：")[2] for line in decision.opinions] == ["附条件同意"]


def test_a_decision_need_not_cite_what_said_nothing_that_counts() -> None:
    stage = Submitted()
    stage.accept()
    stage.ask("planning", "urban-mgmt", completion=COMPLETION_LEAD_DECIDES)
    stage.answer("planning-500103", Answer.OPINION_DISAGREE)
    stage.recall_last()
    stage.ask("planning")
    stage.answer("planning-500103")
    last = builders.cite(stage.case)[-1:]
    stage.ask("urban-mgmt", completion=COMPLETION_LEAD_DECIDES)
    stage.grant(citations=last)


def test_an_organ_that_exists_no_more_is_not_asked() -> None:
    stage = Submitted()
    stage.accept()
    ended = catalog().organs["fire-500105"]
    with pytest.raises(Refused) as caught:
        stage.ask(others=[other(ended.id, "有何意见")])
    assert caught.value.reason == Reason.REASON_INVALID_FIELD
    assert [violation.field for violation in caught.value.violations] == ["others[0].organ_id"]
    assert [catalog().is_organ(ended.id, Date(year=2026, month=1, day=day)) for day in (24, 25)] == [True, False]


def test_whoever_an_officer_gave_what_the_law_wants_of_another_hands_it_on_by_an_officer_only() -> None:
    """His brief says nothing any more of what binds the task."""
    stage = Submitted(builders.ALLOWANCE, JIEFANGBEI)
    stage.accept()
    stage.ask("public-security")
    police, planning = "public-security-500103", "planning-500103"
    stage.organ(police, builders.returning(stage.task_of(police).task_id, stage.now, planning))
    (task,) = stage.agreed().tasks
    stage.center("500103", builders.routing(task.collaboration_id, task.task_id, stage.now, organ_id=planning))
    assert not stage.task_of(planning).brief.HasField("personal")
    stage.organ(planning, builders.returning(stage.task_of(planning).task_id, stage.now, "urban-mgmt-500103"))
    assert stage.agreed().tasks[0].state == Task.STATE_WAITING_FOR_OFFICER
