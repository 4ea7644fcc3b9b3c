"""What onlookers were shown: the checker knows who may see what, and how much of it."""

from dataclasses import replace

import pytest
from google.protobuf.message import Message

from faults.checker import disclosure
from faults.checker.history import Delivery, Shown
from ronghe.case.v1.case_pb2 import Application, Case
from ronghe.case.v1.case_service_pb2 import (
    GetCaseResponse,
    GetCaseTimelineResponse,
    ListCasesResponse,
    TimelineEntry,
)
from ronghe.collaboration.v1.collaboration_pb2 import (
    Answer,
    Ask,
    Assignment,
    Brief,
    Collaboration,
    Hop,
    Task,
)
from ronghe.collaboration.v1.collaboration_service_pb2 import (
    GetCollaborationResponse,
    GetTaskResponse,
    ListCollaborationsResponse,
    ListTasksResponse,
)
from ronghe.document.v1.document_pb2 import Document
from ronghe.document.v1.document_service_pb2 import GetDocumentResponse
from ronghe.event.v1.event_pb2 import Submitted, TaskAssigned
from ronghe.intake.v1.intake_service_pb2 import GetApplicationResponse, ListApplicationsResponse
from ronghe.party.v1.party_pb2 import FormValue, Party, PersonalData
from tests.unit.faults_history import ASKED, CASE, CENTER, COLLABORATION, LEAD, TASK, true_history

HISTORY = true_history()
OTHER_CASE = CASE[::-1]
APPLICANT = HISTORY.submissions[CASE].fact.application.personal.applicant
NAME, MOBILE = APPLICANT.name, APPLICANT.mobile
PERSONAL = PersonalData(applicant=Party(name=NAME))
WHOLE = Case(case_id=CASE, application=Application(personal=PERSONAL))
TIMELINE = GetCaseTimelineResponse(entries=[TimelineEntry(position=1)])
ASKED_OF_IT = Task(task_id=TASK, collaboration_id=COLLABORATION)
TELLING = Collaboration(collaboration_id=COLLABORATION, description=NAME)
QUESTION = Collaboration(collaboration_id=COLLABORATION, case_id=CASE, tasks=[ASKED_OF_IT])
LEADS, IS_ASKED, ROUTES = f"organ/{LEAD}", f"organ/{ASKED}", f"center/{CENTER}"


def problems(party: str, answer: Message, case_id: str = "") -> list[str]:
    """What is wrong with an answer."""
    history = replace(HISTORY, shown=[Shown(party, case_id, answer)])
    return [problem.what for problem in disclosure.check(history)]


@pytest.mark.parametrize(
    ("party", "answer"),
    [
        (LEADS, GetCaseResponse(case=WHOLE)),
        (LEADS, TIMELINE),
        (LEADS, GetDocumentResponse(document=Document(number="1"), text=f"{NAME}：")),
        (LEADS, ListCasesResponse(cases=[Case(case_id=CASE)])),
        (LEADS, GetCollaborationResponse(collaboration=QUESTION)),
        (IS_ASKED, GetTaskResponse(task=ASKED_OF_IT)),
        (IS_ASKED, ListTasksResponse(tasks=[ASKED_OF_IT])),
        (ROUTES, GetCollaborationResponse(collaboration=QUESTION)),
        (ROUTES, ListCollaborationsResponse(collaborations=[QUESTION])),
        ("organ/elsewhere", ListCasesResponse(cases=[Case(case_id=OTHER_CASE)])),
        ("terminal/yukuaiban", GetApplicationResponse(case=WHOLE)),
        ("terminal/yukuaiban", ListApplicationsResponse(cases=[Case(case_id=CASE)])),
    ],
)
def test_everybody_may_see_what_is_his(party: str, answer: Message) -> None:
    case_id = CASE if answer.DESCRIPTOR.name in ("GetCaseTimelineResponse", "GetDocumentResponse") else ""
    assert problems(party, answer, case_id) == []


@pytest.mark.parametrize(
    ("party", "answer"),
    [
        ("organ/elsewhere", GetCaseResponse(case=Case(case_id=CASE))),
        (IS_ASKED, GetCaseResponse(case=Case(case_id=CASE))),
        (IS_ASKED, TIMELINE),
        (IS_ASKED, GetCollaborationResponse(collaboration=QUESTION)),
        (LEADS, GetTaskResponse(task=ASKED_OF_IT)),
        (ROUTES, TIMELINE),
        ("center/500106", ListCollaborationsResponse(collaborations=[QUESTION])),
        ("organ/elsewhere", ListTasksResponse(tasks=[ASKED_OF_IT])),
        ("terminal/elsewhere", GetApplicationResponse(case=Case(case_id=CASE))),
        ("terminal/elsewhere", ListApplicationsResponse(cases=[Case(case_id=CASE)])),
    ],
)
def test_nobody_may_see_more(party: str, answer: Message) -> None:
    name = answer.DESCRIPTOR.name
    assert problems(party, answer, CASE) == [f"{name} shows what is none of its business"]


@pytest.mark.parametrize(
    ("party", "answer"),
    [
        (LEADS, ListCasesResponse(cases=[WHOLE])),
        ("terminal/yukuaiban", ListApplicationsResponse(cases=[WHOLE])),
        (IS_ASKED, GetTaskResponse(task=Task(task_id=TASK, brief=Brief(personal=PERSONAL)))),
        (IS_ASKED, ListTasksResponse(tasks=[Task(task_id=TASK, brief=Brief(personal=PERSONAL))])),
        (
            ROUTES,
            GetCollaborationResponse(collaboration=TELLING),
        ),
    ],
)
def test_the_applicant_is_shown_to_nobody_who_need_not_know_him(party: str, answer: Message) -> None:
    assert problems(party, answer) == [f"{answer.DESCRIPTOR.name} shows the applicant's name"]


def test_a_task_shows_the_fields_that_its_rule_discloses_and_no_other() -> None:
    fields = [FormValue(name="area_m2", number=12), FormValue(name="height_m", number=3)]
    answer = GetTaskResponse(task=Task(task_id=TASK, brief=Brief(form=fields)))
    assert problems(IS_ASKED, answer) == ["GetTaskResponse shows the field height_m"]


@pytest.mark.parametrize(
    ("detail", "name"),
    [
        (Collaboration(receipt=Document(number="1")), "receipt"),
        (Collaboration(asks=[Ask(question="?")]), "asks"),
        (Collaboration(tasks=[Task(brief=Brief(question="?"))]), "brief"),
        (Collaboration(tasks=[Task(answer=Answer(text="!"))]), "answer"),
        (Collaboration(tasks=[Task(hops=[Hop(number=1)])]), "hops"),
        (Collaboration(tasks=[Task(assignments=[Assignment(number=1)])]), "assignments"),
    ],
)
@pytest.mark.parametrize("party", [LEADS, ROUTES])
def test_a_list_leaves_details_out(party: str, detail: Collaboration, name: str) -> None:
    line, other = Collaboration(collaboration_id=COLLABORATION), Collaboration(collaboration_id=OTHER_CASE)
    line.MergeFrom(detail)
    answer = ListCollaborationsResponse(collaborations=[line, other])
    assert problems(party, answer) == [f"ListCollaborationsResponse shows the {name}, which is not for a list"]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ('{"event": "refused"}', []),
        (f'{{"event": "{NAME}被拒绝"}}', ["shows an applicant's name"]),
        (f"1{MOBILE}", []),
        (f"{MOBILE}0", []),
        (f'{{"at":{MOBILE},"event":"x"}}', ["shows an applicant's mobile"]),
        (MOBILE, ["shows an applicant's mobile"]),
    ],
)
def test_nobody_is_named_in_what_is_written_beside_the_journals(content: str, shown: list[str]) -> None:
    history = replace(HISTORY, files={"log/kafka.log": b"", "spans/intake.jsonl": content.encode()})
    found = list(disclosure.check(history))
    assert [problem.what for problem in found] == shown
    assert {problem.where for problem in found} <= {"spans/intake.jsonl"}


def test_nobody_who_looks_is_no_proof() -> None:
    found = [problem.where for problem in disclosure.check(replace(HISTORY, shown=[], whole=True))]
    assert found == ["onlookers"]


@pytest.mark.parametrize(("department", "problem"), [("PLANNING", False), ("CULTURE", True)])
def test_what_a_rule_discloses_of_the_applicant_is_for_the_department_that_it_asks(
    department: str, *, problem: bool
) -> None:
    submitted = HISTORY.submissions[CASE]
    assigned = next(each for each in HISTORY.own.values() if each.name == "TaskAssigned")
    application, fact = Submitted.FromString(submitted.body), TaskAssigned.FromString(assigned.body)
    application.application.item.collaborators[0].discloses.append("applicant.name")
    fact.organ.department, fact.brief.department, fact.brief.personal.applicant.name = department, "PLANNING", NAME
    given = replace(assigned, body=fact.SerializeToString())
    row = HISTORY.journals["intake"].rows[0]
    rows = [replace(row, event=replace(submitted, body=application.SerializeToString()))]
    journals = {"intake": replace(HISTORY.journals["intake"], rows=rows)}
    history = replace(HISTORY, journals=journals, deliveries=[Delivery("department", IS_ASKED, 1, given)])
    what = "TaskAssigned: shows the applicant's name"
    assert [each.what for each in disclosure.check(history) if each.what == what] == [what] * problem
