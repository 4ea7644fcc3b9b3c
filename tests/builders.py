"""Commands of a plain case as callers would send them, on real items of the catalog; the people in them are unreal."""

import hashlib
from datetime import datetime
from functools import cache
from typing import Any
from uuid import uuid4

from google.protobuf.timestamp_pb2 import Timestamp

from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1.catalog_pb2 import (
    COLLABORATION_KIND_CO_APPROVAL,
    COLLABORATION_KIND_JOINT_SITE_VISIT,
    FormField,
    ServiceItem,
)
from ronghe.collaboration.v1 import collaboration_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.governance.v1 import governance_service_pb2 as governance
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.party.v1 import party_pb2
from servers.catalog.catalog import Catalog
from servers.department.collaboration import AskedCollaborationStream
from servers.department.organ_case import OrganCaseStream
from servers.department.task import TaskStream
from servers.governance.case import CaseStream
from servers.governance.collaboration import CollaborationStream
from servers.intake.application import ApplicationStream
from servers.intake.query_code import QueryCodes
from servers.law.calendar import Calendar
from servers.law.days import to_message
from tests.machines import START, Clock, Machine, Mesh

INTAKE = Identity("intake", "yukuaiban")
TERMINAL = Identity("terminal", "yukuaiban")
STRANGER = Identity("intake", "someone-else")
LEAD = Identity("organ", "urban-mgmt-500103")
OTHER_ORGAN = Identity("organ", "fire-500103")
ROAD_WORKS = "IT-001"
ALLOWANCE = "IT-028"
"""最低生活保障, an administrative payment: a town office leads it, and only people apply."""
YUZHONG = "500103"
JIEFANGBEI = "500103003"
OFFICER = party_pb2.Officer(id="007", name="李明")
APPLICANT = party_pb2.Actor(applicant=party_pb2.ApplicantActor(method="face", level=3))
CITIZEN = "50010319000101001X"
"""Nobody born in 1900 applies today."""


@cache
def catalog() -> Catalog:
    return Catalog.load()


@cache
def calendar() -> Calendar:
    return Calendar.load()


@cache
def codes() -> QueryCodes:
    return QueryCodes(b"a key of the deployment, 32 bytes")


def item_of(code: str = ROAD_WORKS) -> ServiceItem:
    """As it is in force when the tests' clock starts."""
    return catalog().item(code, to_message(START.date()))


def lead_of(case: case_pb2.Case) -> Identity:
    return Identity("organ", case.application.lead.id)


def intake_machine(clock: Clock) -> Machine:
    intakes = {INTAKE.id: "渝快办"}
    return Machine("intake-01", [ApplicationStream("intake-01", "governance-01", catalog(), codes(), intakes)], clock)


def governance_machine(clock: Clock) -> Machine:
    return Machine("governance-01", [CaseStream(), CollaborationStream(catalog(), calendar())], clock)


def department_machine(clock: Clock) -> Machine:
    streams = [
        OrganCaseStream("department-01", catalog(), calendar()),
        AskedCollaborationStream("department-01", catalog()),
        TaskStream("department-01", catalog(), calendar()),
    ]
    return Machine("department-01", streams, clock)


def mesh() -> Mesh:
    clock = Clock()
    return Mesh(intake_machine(clock), governance_machine(clock), department_machine(clock), clock)


def at(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def material(code: str) -> case_pb2.Material:
    digest = hashlib.sha256(code.encode()).digest()
    return case_pb2.Material(code=code, digest=digest, size=1000, media_type="application/pdf")


def citizen(name: str = "张三", id_number: str = CITIZEN) -> party_pb2.Party:
    return party_pb2.Party(name=name, id_type="111", id_number=id_number, mobile="19900000000")


def submission(now: datetime, item_code: str = ROAD_WORKS, **fields: Any) -> intake.SubmitApplicationRequest:
    """An application that lacks nothing; fields given replace its own."""
    item = item_of(item_code)
    request = intake.SubmitApplicationRequest(
        request_id=str(uuid4()),
        actor=APPLICANT,
        occurred_at=at(now),
        channel=case_pb2.CHANNEL_APP,
        item_code=item_code,
        application_kind=case_pb2.APPLICATION_KIND_NEW,
        applicant_type=item.applicant_types[0],
        personal=party_pb2.PersonalData(applicant=citizen()),
        division=YUZHONG,
        materials=[material(rule.code) for rule in item.materials if rule.required],
    )
    for form_field in item.form:
        if form_field.required:
            (request.personal.form if form_field.personal else request.form).append(answer(form_field))
    replaced = intake.SubmitApplicationRequest(**fields)
    for descriptor in replaced.DESCRIPTOR.fields:
        if descriptor.name in fields:
            request.ClearField(descriptor.name)
    request.MergeFrom(replaced)
    return request


def answer(form_field: FormField) -> party_pb2.FormValue:
    value = party_pb2.FormValue(name=form_field.name)
    match form_field.type:
        case FormField.TYPE_NUMBER:
            value.number = 3
        case FormField.TYPE_FLAG:
            value.flag = False
        case FormField.TYPE_DATE:
            value.date.year, value.date.month, value.date.day = 2026, 12, 1
        case _:
            value.text = "自编"
    return value


def supplement(case: case_pb2.Case, now: datetime, **fields: Any) -> intake.SupplementApplicationRequest:
    """Answers every line of the open notice."""
    notice = fields.pop("notice_number", case.open_notice)
    lines = [line.line for document in case.documents if document.number == notice for line in document.lines]
    fields.setdefault("answers", [case_pb2.LineAnswer(line=line, text="已补正") for line in lines])
    return intake.SupplementApplicationRequest(
        request_id=str(uuid4()),
        actor=APPLICANT,
        occurred_at=at(now),
        case_id=case.case_id,
        notice_number=notice,
        **fields,
    )


def withdrawal(case_id: str, now: datetime) -> intake.RequestWithdrawalRequest:
    return intake.RequestWithdrawalRequest(
        request_id=str(uuid4()), actor=APPLICANT, occurred_at=at(now), case_id=case_id, reason="不再需要"
    )


def _act(case_id: str, now: datetime) -> dict[str, Any]:
    return {"request_id": str(uuid4()), "actor": OFFICER, "occurred_at": at(now), "case_id": case_id}


def acceptance(case_id: str, now: datetime, **fields: Any) -> department.AcceptApplicationRequest:
    if not {"none", "as_proposed", "explicit"} & fields.keys():
        fields["none"] = nobody("traffic-police")
    return department.AcceptApplicationRequest(**_act(case_id, now), **fields)


def nobody(*left_out: str) -> department.AcceptApplicationRequest.NoCollaboration:
    """The judgement that nobody need be asked; road works leave the police out."""
    reasons = [case_pb2.Judgement.LeftOut(rule=rule, reason="已事先会商") for rule in left_out]
    return department.AcceptApplicationRequest.NoCollaboration(reason="不涉及其他部门", left_out=reasons)


def as_proposed() -> department.AcceptApplicationRequest.AsProposed:
    return department.AcceptApplicationRequest.AsProposed()


def refusal(case_id: str, now: datetime, **fields: Any) -> department.RefuseAcceptanceRequest:
    return department.RefuseAcceptanceRequest(
        **_act(case_id, now),
        reasons=["不属于本机关职权范围"],
        basis=["城市道路管理条例第六条"],
        remedies="可在六十日内申请行政复议，或者在六个月内提起行政诉讼。",
        **fields,
    )


def correction(case_id: str, now: datetime, lines: int = 2, **fields: Any) -> department.RequestCorrectionRequest:
    defects = [
        department.Defect(subject=f"材料{line}", defect="未加盖公章", required="加盖公章的原件")
        for line in range(1, lines + 1)
    ]
    return department.RequestCorrectionRequest(**_act(case_id, now), defects=defects, **fields)


def step(case_id: str, now: datetime, **fields: Any) -> department.RecordStepRequest:
    review = case_pb2.Step(
        name="审查", result=case_pb2.Step.RESULT_PASSED, opinion="符合要求", started_at=at(now), ended_at=at(now)
    )
    return department.RecordStepRequest(**_act(case_id, now), step=review, **fields)


def grant(case_id: str, now: datetime, version: int, **fields: Any) -> department.DecideApplicationRequest:
    granted = department.DecideApplicationRequest.Granted(
        certificate_number="渝中占道2026第1号", conditions=["夜间施工"]
    )
    fields.setdefault("granted", granted)
    return department.DecideApplicationRequest(**_act(case_id, now), if_version=version, **fields)


def denial(case_id: str, now: datetime, version: int) -> department.DecideApplicationRequest:
    denied = department.DecideApplicationRequest.Denied(
        reasons=["影响交通安全"], remedies="可在六十日内申请行政复议，或者在六个月内提起行政诉讼。"
    )
    return department.DecideApplicationRequest(**_act(case_id, now), if_version=version, denied=denied)


def asking(case_id: str, now: datetime, *rules: str, **fields: Any) -> collaboration.RequestCollaborationRequest:
    fields.setdefault("completion", collaboration_pb2.COMPLETION_ALL_MUST_ANSWER)
    return collaboration.RequestCollaborationRequest(**_act(case_id, now), rules=rules, **fields)


def recall(case_id: str, now: datetime, collaboration_id: str) -> collaboration.RecallCollaborationRequest:
    return collaboration.RecallCollaborationRequest(
        **_act(case_id, now), collaboration_id=collaboration_id, reason="情况有变"
    )


def _task(task_id: str, now: datetime) -> dict[str, Any]:
    return {"request_id": str(uuid4()), "actor": OFFICER, "occurred_at": at(now), "task_id": task_id}


def signing(task_id: str, now: datetime) -> collaboration.SignForTaskRequest:
    return collaboration.SignForTaskRequest(**_task(task_id, now))


def answering(task: collaboration_pb2.Task, now: datetime, opinion: int = 1) -> collaboration.AnswerTaskRequest:
    """An answer with all that its kind of collaboration asks for."""
    given = collaboration_pb2.Answer(opinion=opinion, text="已核")
    if opinion == collaboration_pb2.Answer.OPINION_AGREE_WITH_CONDITIONS:
        given.conditions.append("夜间施工")
    if opinion == collaboration_pb2.Answer.OPINION_DISAGREE:
        given.reasons.append("影响交通")
    if opinion == collaboration_pb2.Answer.OPINION_NEED_MORE_MATERIAL:
        given.needs.append("交通组织方案")
    elif task.brief.kind == COLLABORATION_KIND_CO_APPROVAL:
        given.co_approval.document_number = "渝中公交管2026第1号"
        given.co_approval.issued_on.CopyFrom(to_message(now.date()))
        given.co_approval.result = 2 if opinion == collaboration_pb2.Answer.OPINION_DISAGREE else 1
    elif task.brief.kind == COLLABORATION_KIND_JOINT_SITE_VISIT:
        given.visited_at.CopyFrom(at(now))
    return collaboration.AnswerTaskRequest(**_task(task.task_id, now), answer=given)


def returning(task_id: str, now: datetime, suggested: str = "") -> collaboration.ReturnTaskRequest:
    return collaboration.ReturnTaskRequest(
        **_task(task_id, now), reason="不属于本部门职责", suggested_organ_id=suggested
    )


def routing(collaboration_id: str, task_id: str, now: datetime, **to: str) -> governance.RouteCollaborationRequest:
    return governance.RouteCollaborationRequest(
        **_task(task_id, now), collaboration_id=collaboration_id, reason="按职责派遣", **to
    )


def cite(case: case_pb2.Case) -> list[department.DecideApplicationRequest.Citation]:
    """Every collaboration that the case has."""
    return [
        department.DecideApplicationRequest.Citation(collaboration_id=one.collaboration_id, round=one.round)
        for one in case.collaborations
    ]


def closing(case_id: str, now: datetime, **fields: Any) -> department.CloseCaseRequest:
    return department.CloseCaseRequest(**_act(case_id, now), **fields)
