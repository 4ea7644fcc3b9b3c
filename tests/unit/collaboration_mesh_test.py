"""However everybody acts and facts travel, a collaboration is one story; and what that search found."""

from random import Random
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_CONSULTATION, Place, Tier
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import (
    COMPLETION_LEAD_DECIDES,
    Answer,
    CoApproval,
    Collaboration,
    Hop,
    Task,
)
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.event.v1 import event_pb2 as event
from servers.kernel.batch import MAX_EVENT_BYTES
from servers.kernel.stream import Refused
from servers.law.days import to_message
from servers.rpc.validation import validate
from tests import builders
from tests.builders import INTAKE, JIEFANGBEI, LEAD, YUZHONG
from tests.machines import START
from tests.unit.collaboration_lives import City, Lives, own


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_however_everybody_acts_and_facts_travel_there_is_one_story(seed: int) -> None:
    Lives(Random(seed)).run()


def test_the_lives_above_meet_every_course() -> None:
    met: set[str] = set()
    for seed in range(70):
        lives = Lives(Random(seed))
        met |= courses(lives.run()) | set(lives.refusals)
    assert COURSES - met == set()


COURSES = {
    "OUTCOME_GRANTED",
    "OUTCOME_DENIED",
    "OUTCOME_WITHDRAWN",
    "OPINION_AGREE",
    "OPINION_AGREE_WITH_CONDITIONS",
    "OPINION_DISAGREE",
    "OPINION_NEED_MORE_MATERIAL",
    "AnswerLate",
    "CollaborationConcluded",
    "CollaborationRecalled",
    "RecallDeclined",
    "TaskHeld",
    "OpinionDeemed",
    "TaskOverdue",
    "TaskReminded",
    "REASON_UP",
    "REASON_DOWN",
    "REASON_MANUAL",
    "REASON_RETURNED",
    "an answer crossed a recall",
    "an answer crossed the conclusion of another organ's",
    "a return crossed a recall",
    "three returns",
    "round 2",
    "cited",
    "overridden",
    "withdrawn while it was open",
    "REASON_ALREADY_ASKED",
    "REASON_COLLABORATION_ENDED",
    "REASON_COLLABORATION_NOT_CITED",
    "REASON_COLLABORATION_OPEN",
    "REASON_DISAGREEMENT_NOT_EXPLAINED",
    "REASON_REQUIRED_COLLABORATION_MISSING",
    "REASON_REQUIRED_COLLABORATOR_LEFT_OUT",
    "REASON_TASK_ENDED",
    "REASON_TASK_HELD_ELSEWHERE",
}


def courses(city: City) -> set[str]:
    """What happened, in words of the contract where it has one."""
    met = {type(fact).__name__ for fact in city.facts(city.governance)}
    met |= {case_pb2.Outcome.Name(case.outcome) for case in city.led()}
    tasks = [task for one in city.collaborations(city.governance).values() for task in one.tasks]
    met |= {Hop.Reason.Name(hop.reason) for task in tasks for hop in task.hops}
    met |= {Answer.Opinion.Name(task.answer.opinion) for task in tasks}
    met |= {f"round {one.round}" for case in city.led() for one in case.collaborations}
    decided = [fact for machine in city.departments for fact in own(machine, event.Decided)]
    seen = {
        "an answer crossed a recall": any(task.answer_late and task.state == Task.STATE_RECALLED for task in tasks),
        "an answer crossed the conclusion of another organ's": any(
            fact.late and Task.STATE_ANSWERED in {task.state for task in tasks if task.task_id == fact.task_id}
            for fact in own(city.governance, event.AnswerReceived)
        ),
        "a return crossed a recall": any(
            task.state == Task.STATE_RECALLED and task.assignments and task.assignments[-1].return_reason
            for task in tasks
        ),
        "three returns": any(task.bounces >= 3 for task in tasks),
        "cited": any(fact.collaborations for fact in decided),
        "overridden": any(fact.overridden for fact in decided),
        "withdrawn while it was open": any(
            case.outcome == case_pb2.OUTCOME_WITHDRAWN and one.state == Collaboration.STATE_RECALLED
            for case in city.led()
            for one in case.collaborations
        ),
    }
    return met | {name for name, happened in seen.items() if happened}


# --- what the lives above found, or would meet too seldom ---


class Scene:
    """One accepted case of the lead's district, with several places."""

    def __init__(self, *places: str) -> None:
        self.city = City()
        where = [Place(division=place) for place in places]
        submission = builders.submission(self.now, places=where)
        self.case_id = self.city.intake.execute(submission, INTAKE).case_id
        self.city.settle()
        self.lead(builders.acceptance(self.case_id, self.now, as_proposed=builders.as_proposed()))

    @property
    def now(self) -> Any:
        return self.city.clock.advance(minutes=1)

    @property
    def case(self) -> case_pb2.Case:
        (case,) = self.city.led()
        return case

    def lead(self, command: Message) -> Any:
        reply = self.city.serving(LEAD.id).execute(command, LEAD)
        self.city.settle()
        return reply

    def ask(self, *rules: str, **fields: Any) -> str:
        asked: str = self.lead(builders.asking(self.case_id, self.now, *rules, **fields)).collaboration_id
        return asked

    def tasks_of(self, organ_id: str) -> list[Task]:
        return [task for task in self.city.tasks() if task.organ.id == organ_id]

    def act(self, organ_id: str, command: Message) -> None:
        """Without delivering it."""
        self.city.serving(organ_id).execute(command, Identity("organ", organ_id))

    def answer(self, task: Task, opinion: int = Answer.OPINION_AGREE) -> None:
        self.act(task.organ.id, builders.signing(task.task_id, self.now))
        self.act(task.organ.id, builders.answering(task, self.now, opinion))

    def route(self, task: Task, organ_id: str) -> None:
        command = builders.routing(task.collaboration_id, task.task_id, self.now, organ_id=organ_id)
        self.city.governance.execute(command, Identity("center", YUZHONG))


def test_an_organ_that_got_anothers_task_has_two_answers_and_both_count() -> None:
    scene = Scene(JIEFANGBEI, "500103005")
    scene.ask("town-gov", "traffic-police")
    (own,), (others,) = (scene.tasks_of(f"town-gov-{town}") for town in (JIEFANGBEI, "500103005"))
    scene.act(others.organ.id, builders.returning(others.task_id, scene.now, own.organ.id))
    scene.city.settle()
    scene.answer(own, Answer.OPINION_DISAGREE)
    scene.answer(next(task for task in scene.tasks_of(own.organ.id) if task.task_id == others.task_id))
    for task in scene.tasks_of("traffic-police-500103"):
        scene.answer(task)
    scene.city.settle()
    with pytest.raises(Refused) as refused:
        scene.lead(builders.grant(scene.case_id, scene.now, scene.case.version, citations=builders.cite(scene.case)))
    assert refused.value.reason == Reason.REASON_DISAGREEMENT_NOT_EXPLAINED


def test_the_answer_of_one_who_lost_the_task_replaces_none_that_counts() -> None:
    scene = Scene(JIEFANGBEI)
    scene.ask("econ-info", "traffic-police")
    (first,) = scene.tasks_of("econ-info-500103")
    cut_off = scene.city.ways_of(first.organ.id)
    scene.answer(first, Answer.OPINION_DISAGREE)
    scene.route(first, "traffic-police-500103")
    scene.city.settle(*cut_off)
    (second,) = [task for task in scene.tasks_of("traffic-police-500103") if task.task_id == first.task_id]
    scene.answer(second)
    scene.city.settle(*cut_off)
    scene.city.settle()
    (kept,) = [one for one in scene.case.collaborations[0].tasks if one.task_id == first.task_id]
    assert (kept.organ_id, kept.answer.opinion, kept.answer_late) == (second.organ.id, Answer.OPINION_AGREE, False)


def test_the_answer_of_one_who_lost_the_task_replaces_none_that_found_the_case_decided() -> None:
    scene = Scene(JIEFANGBEI)
    scene.ask("econ-info", completion=COMPLETION_LEAD_DECIDES)
    (first,) = scene.tasks_of("econ-info-500103")
    cut_off = scene.city.ways_of(first.organ.id)
    assert cut_off == scene.city.ways_of(LEAD.id)
    scene.answer(first, Answer.OPINION_DISAGREE)
    scene.act(LEAD.id, builders.denial(scene.case_id, scene.now, scene.case.version))
    scene.route(first, "traffic-police-500103")
    scene.city.settle(*cut_off)
    (second,) = scene.tasks_of("traffic-police-500103")
    scene.answer(second)
    scene.city.settle(*cut_off)
    scene.city.settle()
    (kept,) = scene.case.collaborations[0].tasks
    assert (kept.organ_id, kept.answer.opinion, kept.answer_late) == (second.organ.id, Answer.OPINION_AGREE, True)
    late = [fact.late for fact in own(scene.city.governance, event.AnswerReceived)]
    assert late == [False, True]


def test_whoever_has_a_task_again_has_its_time_again() -> None:
    scene = Scene(JIEFANGBEI)
    scene.ask("econ-info")
    (task,) = scene.tasks_of("econ-info-500103")
    for _ in range(30):
        scene.city.clock.advance(days=1)
        scene.city.serving(task.organ.id).pass_time()
    scene.city.settle()
    assert (task.overdue, task.reminded) == (True, True)
    for organ_id in ("fire-500103", task.organ.id):
        scene.route(task, organ_id)
        scene.city.settle()
    assert (task.state, task.assignment, task.overdue, task.reminded) == (Task.STATE_ASSIGNED, 3, False, False)
    (at_center,) = scene.city.collaborations(scene.city.governance).values()
    assert not at_center.tasks[0].overdue


@pytest.mark.parametrize("length", [1, 400, 900, 1000, 2000])
def test_a_request_that_the_center_could_not_open_is_refused(length: int) -> None:
    scene = Scene(*(f"500103{town}" for town in ("003", "005", "010", "012")), "500106001")
    other = pb.RequestCollaborationRequest.Other(
        department="TOWN_GOV",
        tier=Tier.TIER_TOWN,
        kind=COLLABORATION_KIND_CONSULTATION,
        question="问" * length,
        reply_days=3,
    )
    try:
        scene.ask(others=[other] * 20)
    except Refused as refused:
        assert (refused.reason, length > 500) == (Reason.REASON_TOO_LARGE, True)  # noqa: PT017
    else:
        (opened,) = own(scene.city.governance, event.CollaborationOpened)
        assert len(opened.tasks) == 100
        assert opened.ByteSize() <= MAX_EVENT_BYTES


LIMIT = MAX_EVENT_BYTES


@pytest.mark.parametrize("length", [*range(LIMIT - 1024, LIMIT, 64), *range(LIMIT - 10240, LIMIT - 1024, 512)])
def test_an_answer_that_is_accepted_can_be_received(length: int) -> None:
    """The center repeats it with more beside it: a refusal there would set the case aside for good."""
    scene = Scene(JIEFANGBEI)
    scene.ask("traffic-police")
    (task,) = scene.tasks_of("traffic-police-500103")
    scene.act(task.organ.id, builders.signing(task.task_id, scene.now))
    command = builders.answering(task, scene.now)
    command.answer.co_approval.certificate.name = "x" * length
    try:
        scene.act(task.organ.id, command)
    except Refused as refused:
        assert (refused.reason, length > LIMIT - 9 * 1024) == (Reason.REASON_TOO_LARGE, True)  # noqa: PT017
    else:
        scene.city.settle()
        (received,) = own(scene.city.governance, event.AnswerReceived)
        assert received.ByteSize() > length


@pytest.mark.parametrize(("name", "number", "refused"), [(200, 64, False), (201, 1, True), (1, 65, True)])
def test_a_certificates_name_and_number_are_bounded(name: int, number: int, *, refused: bool) -> None:
    command = builders.answering(Task(task_id="01a208bc-0000-7000-8000-000000000000"), START)
    result = CoApproval(document_number="1", issued_on=to_message(START.date()), result=CoApproval.RESULT_GRANTED)
    result.certificate.name, result.certificate.number = "证" * name, "9" * number
    command.answer.co_approval.CopyFrom(result)
    if refused:
        with pytest.raises(Refused, match="certificate"):
            validate(command)
    else:
        validate(command)
