"""The papers of a case, as they are issued: each is numbered, rests on its provisions and is pinned by its digest.

Numbers are `<case number>-<series>-<nn>`: the series is the initials of the paper's Chinese name, and nn counts the
papers of that series in the case from 01. No other case has the number, because none has the case number.
"""

import hashlib
from collections.abc import Iterable, Sequence

from google.type.date_pb2 import Date

from ronghe.case.v1 import case_pb2
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.document.v1.document_pb2 import Addressee, CertificateReference, CorrectionLine, Document, DueDate, Issuer
from ronghe.intake.v1 import intake_service_pb2 as intake
from servers.case.acts import Act, ActOfOfficer
from servers.case.rendering import BY_ANALOGY, RENDERING_VERSION, render
from servers.law.days import legal_date

PERMIT = "01"
"""Administrative permits (行政许可) among the item types of GB/T 39046-2020 table A.1."""

SERIES = {
    Document.KIND_SUBMISSION_VOUCHER: "SJ",  # 收件
    Document.KIND_ACCEPTANCE_RECEIPT: "SL",  # 受理
    Document.KIND_ACCEPTANCE_REFUSAL: "BYSL",  # 不予受理
    Document.KIND_CORRECTION_NOTICE: "BZ",  # 补正
    Document.KIND_DECISION_GRANTED: "ZY",  # 准予
    Document.KIND_DECISION_DENIED: "BY",  # 不予
}


def with_addressee(document: Document, case: case_pb2.Case) -> Document:
    """A copy with the applicant's name, where the case carries it: events do not."""
    copy = Document()
    copy.CopyFrom(document)
    if case.application.HasField("personal"):
        copy.addressee.CopyFrom(Addressee(name=case.application.personal.applicant.name))
    return copy


def submission_voucher(
    application: case_pb2.Application, command: intake.SubmitApplicationRequest, issuer: str
) -> Document:
    """The intake system's proof of what was received (收件凭证), with the five days of art. 32, signed by its name."""
    case = case_pb2.Case(case_id=application.case_id, case_no=application.case_no, application=application)
    voucher = _paper(case, Document.KIND_SUBMISSION_VOUCHER, command, ["第二十九条", "第三十二条第一款第四项"])
    voucher.issuer.CopyFrom(Issuer(id=application.intake_id, name=issuer))
    voucher.materials.extend(_received(case))
    if command.actor.HasField("officer"):
        voucher.officer.CopyFrom(command.actor.officer)
    return _sealed(voucher, case)


def acceptance_receipt(
    case: case_pb2.Case,
    command: department.AcceptApplicationRequest,
    legal_due: DueDate,
    promised_due: DueDate,
) -> Document:
    """The acceptance receipt (受理通知书; art. 32 (1) no. 5) with the last days by law (art. 42) and by promise."""
    receipt = _paper_of_lead(case, Document.KIND_ACCEPTANCE_RECEIPT, command, ["第三十二条第一款第五项", "第四十二条"])
    receipt.accepted_on.CopyFrom(legal_date(command.occurred_at))
    receipt.legal_due.CopyFrom(legal_due)
    receipt.promised_due.CopyFrom(promised_due)
    receipt.materials.extend(_received(case))
    receipt.contact = command.contact
    return _sealed(receipt, case)


def acceptance_refusal(case: case_pb2.Case, command: department.RefuseAcceptanceRequest) -> Document:
    """The refusal to accept (不予受理通知书; art. 32 (1) no. 2 names the competent body instead)."""
    article = "第三十二条第一款第二项" if command.competent_body else "第三十二条"
    refusal = _paper_of_lead(case, Document.KIND_ACCEPTANCE_REFUSAL, command, [article], command.basis)
    refusal.reasons.extend(command.reasons)
    refusal.competent_body = command.competent_body
    refusal.remedies = command.remedies
    return _sealed(refusal, case)


def correction_notice(case: case_pb2.Case, command: department.RequestCorrectionRequest) -> Document:
    """The notice that tells every defect at once (补正告知书; art. 32 (1) no. 4)."""
    notice = _paper_of_lead(case, Document.KIND_CORRECTION_NOTICE, command, ["第三十二条第一款第四项"])
    notice.lines.extend(
        CorrectionLine(
            line=line,
            subject=defect.subject,
            defect=defect.defect,
            required=defect.required,
            basis=defect.basis,
            task_id=defect.task_id.lower(),
        )
        for line, defect in enumerate(command.defects, 1)
    )
    notice.materials.extend(defect.required for defect in command.defects)
    notice.reasons.extend(defect.defect for defect in command.defects)
    return _sealed(notice, case)


def decision_granted(
    case: case_pb2.Case,
    command: department.DecideApplicationRequest,
    conditions: Iterable[str] = (),
    opinions: Iterable[str] = (),
) -> Document:
    """The decision that grants, with its certificate (准予决定书; art. 38 (1), art. 39).

    `conditions` are those of collaborators, which it carries over; `opinions` what they said, a line each.
    """
    granted = command.granted
    decision = _decision(
        case, Document.KIND_DECISION_GRANTED, command, ["第三十八条第一款", "第三十九条", "第四十四条"], opinions
    )
    decision.conditions.extend([*granted.conditions, *conditions])
    decision.certificate.CopyFrom(
        CertificateReference(
            name=case.application.item.result_document,
            number=granted.certificate_number,
            valid_from=granted.valid_from if granted.HasField("valid_from") else None,
            valid_to=granted.valid_to if granted.HasField("valid_to") else None,
        )
    )
    return _sealed(decision, case)


def decision_denied(
    case: case_pb2.Case, command: department.DecideApplicationRequest, opinions: Iterable[str] = ()
) -> Document:
    """The decision that denies, with reasons and remedies (不予决定书; art. 38 (2))."""
    decision = _decision(case, Document.KIND_DECISION_DENIED, command, ["第三十八条第二款"], opinions)
    decision.reasons.extend(command.denied.reasons)
    decision.remedies = command.denied.remedies
    return _sealed(decision, case)


def _decision(
    case: case_pb2.Case,
    kind: "Document.Kind.ValueType",
    command: department.DecideApplicationRequest,
    articles: Sequence[str],
    opinions: Iterable[str],
) -> Document:
    decision = _paper_of_lead(case, kind, command, articles, command.basis)
    decision.accepted_on.CopyFrom(accepted_on(case))
    decision.opinions.extend(opinions)
    return decision


def _paper_of_lead(
    case: case_pb2.Case,
    kind: "Document.Kind.ValueType",
    command: ActOfOfficer,
    articles: Sequence[str],
    basis: Iterable[str] = (),
) -> Document:
    paper = _paper(case, kind, command, articles, basis)
    lead = case.application.lead
    paper.issuer.CopyFrom(Issuer(id=lead.id, name=lead.name, credit_code=lead.credit_code))
    paper.officer.CopyFrom(command.actor)
    return paper


def _paper(
    case: case_pb2.Case,
    kind: "Document.Kind.ValueType",
    command: Act,
    articles: Sequence[str],
    basis: Iterable[str] = (),
) -> Document:
    application = case.application
    return Document(
        kind=kind,
        number=_number(case, kind),
        item_code=application.item.code,
        item_name=application.item.name,
        case_id=case.case_id,
        case_no=case.case_no,
        received_on=legal_date(application.submitted_at),
        basis=[*_provisions(application, articles), *basis],
        issued_at=command.occurred_at,
        rendering_version=RENDERING_VERSION,
    )


def _number(case: case_pb2.Case, kind: "Document.Kind.ValueType") -> str:
    issued = sum(document.kind == kind for document in case.documents)
    return f"{case.case_no}-{SERIES[kind]}-{issued + 1:02d}"


def _provisions(application: case_pb2.Application, articles: Sequence[str]) -> list[str]:
    """Of 行政许可法, which binds permits only: the papers of other items follow it by analogy, and say so."""
    first, *others = (f"行政许可法{article}" for article in articles)
    return [first if application.item.item_type_code == PERMIT else BY_ANALOGY + first, *others]


def accepted_on(case: case_pb2.Case) -> Date:
    """The day of acceptance, from the receipt; StopIteration before there is one."""
    return next(d.accepted_on for d in case.documents if d.kind == Document.KIND_ACCEPTANCE_RECEIPT)


def _received(case: case_pb2.Case) -> list[str]:
    """Names of the materials that have come in, in the item's order."""
    codes = received_materials(case)
    return [rule.name for rule in case.application.item.materials if rule.code in codes]


def received_materials(case: case_pb2.Case) -> set[str]:
    """Codes of the materials that came with the application and with the supplements that were in time."""
    supplied = (
        answer.materials for supplement in case.supplements if not supplement.late for answer in supplement.answers
    )
    return {material.code for materials in (case.application.materials, *supplied) for material in materials}


def _sealed(document: Document, case: case_pb2.Case) -> Document:
    """Pin the text, the addressee included, and leave him out: he is personal data."""
    text = render(with_addressee(document, case))
    document.text_digest = hashlib.sha256(text.encode()).digest()
    return document
