"""What each party is told: everything that reaches it is searched for marks that it must not see."""

import re
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.record import Record
from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CONSULTATION, FormField, Place
from ronghe.collaboration.v1 import collaboration_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.event.v1 import event_pb2 as event
from ronghe.party.v1 import party_pb2
from servers.department.task import ToldToOrgan
from servers.kernel.inbox import to_event
from tests import builders
from tests.builders import ALLOWANCE, CITIZEN, INTAKE, JIEFANGBEI, ROAD_WORKS, YUZHONG, lead_of
from tests.unit.collaboration_lives import City, Lives

NAME, MOBILE, ADDRESS, SECRET = "标记甲乙", "19900007731", "标记路七十七号", "MARKED-PERSONAL-"
OTHER_DISTRICT = "500106"
SUMMARY, EXTERNAL, DECIDED = "标记摘要", "MARKED-EXTERNAL-NO", "标记决定理由"
APPLICANT = {NAME, CITIZEN, MOBILE, ADDRESS}
OPINION = re.compile("标记意见<([a-z0-9-]+)>")


def marked(now: Any, item_code: str, division: str) -> Any:
    """An application with a mark in every field that can hold one."""
    item = builders.item_of(item_code)
    request = builders.submission(
        now, item_code, division=division, places=[Place(division=division)], summary=SUMMARY, external_no=EXTERNAL
    )
    request.personal.applicant.name, request.personal.applicant.mobile = NAME, MOBILE
    request.personal.applicant.address = ADDRESS
    del request.form[:], request.personal.form[:]
    for number, form_field in enumerate(item.form):
        value = builders.answer(form_field)
        if form_field.type == FormField.TYPE_TEXT:
            value.text = f"{SECRET if form_field.personal else 'MARKED-'}{form_field.name}."
        if form_field.type == FormField.TYPE_NUMBER:
            value.number = 7_000 + number
        (request.personal.form if form_field.personal else request.form).append(value)
    return request


class Marked(Lives):
    """Everybody at once, and whatever anybody says is marked."""

    def an_application_comes(self) -> None:
        item, division = self.chance.choice([(ROAD_WORKS, YUZHONG), (ALLOWANCE, JIEFANGBEI)])
        self.city.intake.execute(marked(self.now, item, division), INTAKE)

    def command(self, case: case_pb2.Case, act: str) -> Any:
        command: Any = super().command(case, act)
        if act == "deny":
            command.denied.reasons[:] = [DECIDED]
        return command

    def reply(self, task: collaboration_pb2.Task) -> Any:
        command = super().reply(task)
        said = f"标记意见<{task.organ.id}>"
        match command:
            case pb.AnswerTaskRequest(answer=answer):
                answer.text = said
                for words in (answer.conditions, answer.reasons, answer.needs):
                    words[:] = [said] * len(words)
            case pb.ReturnTaskRequest():
                command.reason = said
        return command


def led_by(city: City, organ_id: str) -> set[str]:
    return {case.case_id for case in city.led() if lead_of(case).id == organ_id}


def told(city: City, organ_id: str) -> list[Record]:
    """What an organ's inbox got of cases that it does not lead."""
    led = led_by(city, organ_id)
    inboxes = (machine.inboxes.get(f"organ/{organ_id}", []) for machine in city.machines)
    return [record for inbox in inboxes for record in inbox if record.case_id not in led]


def text(messages: Iterable[Message]) -> str:
    """Whatever is text in them."""
    return b" ".join(message.SerializeToString() for message in messages).decode("utf-8", "replace")


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_party_is_ever_told_more_than_it_may_know(seed: int) -> None:
    city = Marked(Random(seed)).run()
    for organ_id in {task.organ.id for task in city.tasks()}:
        assert_told_its_tasks_only(city, organ_id)
    for machine in city.machines:
        for receiver, records in machine.inboxes.items():
            if receiver.startswith("center/"):
                assert_no_marks(text(to_event(record) for record in records), city)
    assert_intake_hears_no_opinion(city)


def assert_told_its_tasks_only(city: City, organ_id: str) -> None:
    records = told(city, organ_id)
    held = [task for task in city.tasks() if task.organ.id == organ_id]
    tasks = {task.task_id for task in held}
    for record in records:
        fact: Any = record.fact
        assert fact.task_id in tasks
        assert isinstance(record.fact, ToldToOrgan | event.TaskSigned)
        assert (fact.organ.id if isinstance(record.fact, event.TaskAssigned) else fact.organ_id) == organ_id
    received = text([*(to_event(record) for record in records), *held])
    assert set(OPINION.findall(received)) <= {organ_id}
    for task in held:
        assert task.brief.department == task.organ.department or not task.brief.HasField("personal")
    names_applicant = any(task.brief.HasField("personal") for task in held)
    for mark in {MOBILE, ADDRESS, SUMMARY, EXTERNAL, DECIDED} | ({NAME, CITIZEN} if not names_applicant else set()):
        assert mark not in received
    assert_no_numbers(received, city)


def assert_no_marks(received: str, city: City) -> None:
    for mark in (*APPLICANT, SECRET, SUMMARY, EXTERNAL, DECIDED):
        assert mark not in received
    assert OPINION.findall(received) == []
    assert_no_numbers(received, city)


def assert_no_numbers(received: str, city: City) -> None:
    """Neither the case's number nor that of any of its papers, which begin with it."""
    assert not any(case.case_no in received for case in city.led())


def assert_intake_hears_no_opinion(city: City) -> None:
    """The applicant's side gets the decision, with the conditions that it carries; not what was said on the way."""
    heard = [record.fact for record in city.intake.journal if record.fact is not None]
    decisions = [fact for fact in heard if isinstance(fact, event.Decided)]
    assert not any(isinstance(fact, event.TaskAnswered | event.AnswerReceived) for fact in heard)
    assert OPINION.findall(text(fact for fact in heard if fact not in decisions)) == []
    assert all("（" in line for fact in decisions for line in fact.decision.conditions if OPINION.search(line))


# --- one task after another ---


class Desk:
    """An accepted case whose every field is marked, and the organs that are asked about it."""

    def __init__(self, item_code: str, division: str) -> None:
        self.city = City()
        self.case_id = self.city.intake.execute(marked(self.now, item_code, division), INTAKE).case_id
        self.city.settle()
        self.lead(builders.acceptance(self.case_id, self.now, as_proposed=builders.as_proposed()))

    @property
    def now(self) -> Any:
        return self.city.clock.advance(minutes=1)

    @property
    def case(self) -> case_pb2.Case:
        (case,) = self.city.led()
        return case

    def lead(self, command: Any) -> None:
        self.city.serving(lead_of(self.case).id).execute(command, lead_of(self.case))
        self.city.settle()

    def brief_of(self, organ_id: str) -> tuple[collaboration_pb2.Brief, str]:
        """An organ's brief, and all text that reached the organ."""
        (task,) = [task for task in self.city.tasks() if task.organ.id == organ_id]
        return task.brief, text([task, *(to_event(record) for record in told(self.city, organ_id))])


def test_of_the_form_a_collaborator_sees_what_its_rule_discloses_and_nothing_else() -> None:
    desk = Desk(ROAD_WORKS, YUZHONG)
    other = pb.RequestCollaborationRequest.Other(
        organ_id="planning-500000",
        kind=COLLABORATION_KIND_CONSULTATION,
        question="是否符合规划",
        reply_days=2,
        discloses=["area_m2"],
    )
    desk.lead(builders.asking(desk.case_id, desk.now, "traffic-police", others=[other]))
    (rule,) = [one for one in desk.case.application.item.collaborators if one.id == "traffic-police"]
    police, told_police = desk.brief_of("traffic-police-500103")
    planning, told_planning = desk.brief_of("planning-500000")
    assert {value.name for value in police.form} == set(rule.discloses)
    assert "MARKED-purpose." in told_police
    assert [(value.name, value.number) for value in planning.form] == [("area_m2", 7_001)]
    assert "MARKED-" not in told_planning
    for received in (told_police, told_planning):
        assert [mark for mark in (*APPLICANT, SECRET, SUMMARY, EXTERNAL, desk.case.case_no) if mark in received] == []
    assert not police.HasField("personal")
    assert not planning.HasField("personal")


@pytest.mark.parametrize("rule_id", ["hrss", "housing", "public-security", "medical-ins"])
def test_of_the_applicant_a_collaborator_sees_what_its_rule_discloses_with_a_basis(rule_id: str) -> None:
    desk = Desk(ALLOWANCE, JIEFANGBEI)
    (rule,) = [one for one in desk.case.application.item.collaborators if one.id == rule_id]
    desk.lead(builders.asking(desk.case_id, desk.now, rule_id))
    brief, received = desk.brief_of(f"{rule_id}-{YUZHONG}")
    assert rule.basis
    assert brief.basis == rule.basis
    assert brief.personal.applicant == party_pb2.Party(name=NAME, id_type="111", id_number=CITIZEN)
    assert {value.name for value in (*brief.form, *brief.personal.form)} == {
        name for name in rule.discloses if not name.startswith("applicant.")
    }
    personal = {value.text for value in desk.case.application.personal.form}
    assert {mark for mark in personal if mark in received} == {value.text for value in brief.personal.form}
    assert [mark for mark in (MOBILE, ADDRESS, SUMMARY, EXTERNAL, desk.case.case_no) if mark in received] == []


def test_what_one_department_may_see_of_the_applicant_goes_to_no_other() -> None:
    """Neither by a suggestion, nor by the officer who finds another one competent."""
    desk = Desk(ALLOWANCE, JIEFANGBEI)
    desk.lead(builders.asking(desk.case_id, desk.now, "public-security"))
    police, other = f"public-security-{YUZHONG}", f"culture-{OTHER_DISTRICT}"
    (task,) = [task for task in desk.city.tasks() if task.organ.id == police]
    returned = builders.returning(task.task_id, desk.now, other)
    desk.city.serving(police).execute(returned, Identity("organ", police))
    desk.city.settle()
    assert [task.organ.id for task in desk.city.tasks()] == [police]
    (known,) = desk.city.collaborations(desk.city.governance).values()
    ways = {other: known.tasks[0].waiting_at, f"public-security-{OTHER_DISTRICT}": "500000"}
    for organ_id, center_id in ways.items():
        route = builders.routing(task.collaboration_id, task.task_id, desk.now, organ_id=organ_id)
        desk.city.governance.execute(route, Identity("center", center_id))
        desk.city.settle()
        brief, received = desk.brief_of(organ_id)
        asked = organ_id != other
        assert brief.HasField("personal") == asked
        assert [mark in received for mark in (NAME, CITIZEN, f"{SECRET}household_register_no.")] == [asked] * 3
