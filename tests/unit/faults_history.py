"""A true history of one case that asks another organ, made by hand: what the checker must find nothing wrong with."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from google.protobuf.message import Message

from faults.checker.connected import span_id
from faults.checker.history import Delivery, Event, History, InboxRow, Journal, Request, Row, Shown, Span, TopicRecord
from faults.checker.marks import mark_of
from faults.checker.mutations import rechained
from faults.checker.routes import EFFECTS, holders, owner, receivers
from ronghe.case.v1.case_pb2 import OUTCOME_GRANTED, STATE_CLOSED, Application, Case
from ronghe.case.v1.case_service_pb2 import ListCasesResponse
from ronghe.catalog.v1.catalog_pb2 import Collaborator, Organ, ServiceItem
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.collaboration.v1.collaboration_pb2 import Answer, Brief, Collaboration, Hop, Standing
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.document.v1.document_pb2 import CertificateReference, Document
from ronghe.event.v1 import event_pb2 as event
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationResponse
from ronghe.party.v1.party_pb2 import Actor, ApplicantActor, FormValue, Officer, Party, PersonalData

CASE = "0190a000-0000-7000-8000-000000000001"
LEAD, ASKED, CENTER = "urban-mgmt-500103", "planning-500103", "500103"
COLLABORATION, TASK = "a collaboration", "a task"
MARKS = {name: mark_of(str(UUID(int=number))) for number, name in enumerate(EFFECTS, 1)}
KINDS = {"intake": 1, "governance": 2, "department": 3}


def true_history() -> History:
    """Everything of it."""
    events = _events()
    requests = [
        Request("somebody", command, MARKS[command], _body(command), answers=[_answer(command, events)])
        for command, effects in EFFECTS.items()
        if any(each.name in effects and MARKS[command].encode() in each.body for each in events)
    ]
    bare = History(requests, {name: _journal(name, events) for name in KINDS}, [], [])
    journals = {name: _with_inbox(bare, journal) for name, journal in bare.journals.items()}
    return History(
        requests,
        journals,
        topic=[TopicRecord(0, offset, each) for offset, each in enumerate(events)],
        deliveries=[
            Delivery(name, row.receiver, row.sequence, journal.by_position[row.position])
            for name, journal in journals.items()
            for row in journal.inbox
            if not row.receiver.startswith("service/")
        ],
        shown=[Shown(f"organ/{LEAD}", "", ListCasesResponse(cases=[Case(case_id=CASE)]))],
        authority=_authority(),
        spans=[Span(UUID(CASE).hex, span_id(events[0].id, "event"), "", events[0].type)],
    )


def _authority() -> x509.Certificate:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, SHA256())


def _events() -> Sequence[Event]:
    """Each caused by the one before it."""
    found: list[Event] = []
    versions = count(1)
    for fact in _facts():
        name = fact.DESCRIPTOR.name
        number = len(found) + 1
        found.append(
            Event(
                id=str(UUID(int=1000 + number)),
                origin=f"{owner(name)}-01",
                case_id=CASE,
                stream=f"{owner(name)}/{CASE}",
                version=next(versions),
                causes=(found[-1].id,) if found else (),
                type=fact.DESCRIPTOR.full_name,
                recorded_at=number,
                body=fact.SerializeToString(),
            )
        )
    return found


def _facts() -> Sequence[Message]:
    lead, asked = Organ(id=LEAD), Organ(id=ASKED, name="规划局", division="500103")
    item = ServiceItem(collaborators=[Collaborator(id="planning", discloses=["area_m2"])])
    application = Application(case_id=CASE, intake_id="yukuaiban", item=item, lead=lead)
    application.form.append(FormValue(name="area_m2", number=12))
    application.personal.CopyFrom(PersonalData(applicant=Party(name="申请人甲", mobile="19900000001")))
    of: dict[str, Any] = {"collaboration_id": COLLABORATION, "lead_id": LEAD}
    task: dict[str, Any] = {**of, "task_id": TASK}
    certificate = CertificateReference(number="证1")
    brief = Brief(rule="planning", form=[FormValue(name="area_m2", number=12)])
    return [
        event.Submitted(
            actor=Actor(applicant=ApplicantActor(method=MARKS["SubmitApplicationRequest"])),
            application=application,
            voucher=Document(number="1", text_digest=b"voucher"),
        ),
        event.Accepted(officer=_officer("AcceptApplicationRequest"), receipt=Document(number="2")),
        event.CollaborationRequested(
            collaboration=Collaboration(
                collaboration_id=COLLABORATION, requested_by=_officer("RequestCollaborationRequest")
            )
        ),
        event.CollaborationOpened(**of),
        event.TaskRouted(**task, hop=Hop(to=f"center/{CENTER}")),
        event.TaskAssigned(**task, organ=asked, brief=brief),
        event.TaskSigned(**task, organ_id=ASKED, officer=_officer("SignForTaskRequest")),
        event.TaskAnswered(**task, organ_id=ASKED, answer=_signed("AnswerTaskRequest")),
        event.AnswerReceived(**task, organ=asked, answer=_agreed()),
        event.CollaborationConcluded(**of),
        event.Decided(
            officer=_officer("DecideApplicationRequest"),
            outcome=OUTCOME_GRANTED,
            decision=Document(
                opinions=["规划局：附条件同意"], conditions=["限高三米（规划局）"], certificate=certificate
            ),
            collaborations=[COLLABORATION],
        ),
        event.Closed(officer=_officer("CloseCaseRequest")),
    ]


def _body(command: str) -> bytes:
    """What the caller asked for."""
    officer, agreed = _officer(command), _agreed()
    submitted = _facts()[0].application  # type: ignore[attr-defined]
    asked = {
        "SubmitApplicationRequest": intake.SubmitApplicationRequest(
            actor=Actor(applicant=ApplicantActor(method=MARKS[command])),
            personal=submitted.personal,
            form=submitted.form,
        ),
        "AcceptApplicationRequest": department.AcceptApplicationRequest(
            actor=officer, case_id=CASE, as_proposed=department.AcceptApplicationRequest.AsProposed()
        ),
        "RequestCollaborationRequest": collaboration.RequestCollaborationRequest(
            actor=officer, case_id=CASE.upper(), if_version=2
        ),
        "SignForTaskRequest": collaboration.SignForTaskRequest(actor=officer, task_id=TASK),
        "AnswerTaskRequest": collaboration.AnswerTaskRequest(actor=officer, task_id=TASK, answer=agreed),
        "DecideApplicationRequest": department.DecideApplicationRequest(
            actor=officer,
            case_id=CASE,
            if_version=4,
            granted=department.DecideApplicationRequest.Granted(certificate_number="证1"),
            citations=[department.DecideApplicationRequest.Citation(collaboration_id=COLLABORATION, round=1)],
        ),
        "CloseCaseRequest": department.CloseCaseRequest(actor=officer, case_id=CASE),
    }
    return asked[command].SerializeToString() if command in asked else b""


def _agreed() -> Answer:
    return Answer(opinion=Answer.OPINION_AGREE_WITH_CONDITIONS, conditions=["限高三米"])


def _signed(command: str) -> Answer:
    answer = _agreed()
    answer.officer.CopyFrom(_officer(command))
    return answer


def _officer(command: str) -> Officer:
    return Officer(id=MARKS[command], name="经办人")


def _answer(command: str, events: Sequence[Event]) -> Message:
    if command != "SubmitApplicationRequest":
        return Case()
    return SubmitApplicationResponse(case_id=CASE, voucher=events[0].fact.voucher)


def _journal(name: str, events: Sequence[Event]) -> Journal:
    rows = rechained(
        [
            Row(0, each, 1, 1, 1 if owner(each.name) == name else 3, None, b"", b"")
            for each in events
            if name in holders(each.name)
        ]
    )
    facts = {each.name: each.fact for each in events}
    papers = [facts["Submitted"].voucher, facts["Accepted"].receipt, facts["Decided"].decision]
    case, collaborations = Case(case_id=CASE, state=STATE_CLOSED, outcome=OUTCOME_GRANTED, documents=papers), {}
    if name != "intake":
        case.collaborations.append(Standing(collaboration_id=COLLABORATION))
        state = Collaboration.STATE_CONCLUDED
        collaborations[COLLABORATION] = Collaboration(collaboration_id=COLLABORATION, case_id=CASE, state=state)
    head = (rows[-1].position, rows[-1].hash)
    published = None if name == "intake" else rows[-1].position
    return Journal(name, rows, head, published=published, cases={CASE: case}, collaborations=collaborations)


def _with_inbox(history: History, journal: Journal) -> Journal:
    last: dict[str, int] = {}
    inbox = []
    for row in journal.rows:
        for receiver in receivers(history, journal.subsystem, row.event):
            last[receiver] = last.get(receiver, 0) + 1
            inbox.append(InboxRow(receiver, last[receiver], row.position, CASE, is_acknowledged=True))
    return replace(journal, inbox=inbox, last_sequences=last)
