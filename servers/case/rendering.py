"""A document as a person reads it: plain Chinese text, the same everywhere, since its digest pins it.

A document names the version of the rules it was rendered by. A change of wording is a new version beside the old one,
never an edit: papers that were handed out must go on to match their digest.
"""

from collections.abc import Callable, Iterable, Iterator

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from ronghe.document.v1.document_pb2 import CorrectionLine, Document, DueDate
from servers.law.days import legal_date

RENDERING_VERSION = 1
"""The version by which new documents are rendered."""

INDENT = "　　"
BY_ANALOGY = "参照"
"""Begins the first provision of a paper on an item that is no administrative permit: the law is followed by analogy."""


def render(document: Document) -> str:
    """The document's text, with its addressee where that is filled in.

    Raises KeyError for a rendering version or a kind that this program does not know.
    """
    return _RENDERINGS[document.rendering_version](document)


def chinese_date(date: Date) -> str:
    """For example 2026年11月23日."""
    return f"{date.year}年{date.month}月{date.day}日"


def _render_1(document: Document) -> str:
    title, body = _KINDS[document.kind]
    parts = [_title(document, title), f"文书编号：{document.number}", "", f"{_salutation(document)}：", ""]
    return "\n".join([*parts, *body(document), *_foot(document)]) + "\n"


def _title(document: Document, title: str) -> str:
    return title.format(permit="" if _by_analogy(document) else "行政许可")


def _salutation(document: Document) -> str:
    """Whoever may not see the name reads a text that does not match the digest, but reads it."""
    return document.addressee.name or "申请人"


def _by_analogy(document: Document) -> bool:
    return bool(document.basis) and document.basis[0].startswith(BY_ANALOGY)


def _voucher(document: Document) -> Iterator[str]:
    yield (
        f"{INDENT}{chinese_date(document.received_on)}收到你（单位）提出的“{document.item_name}”申请，"
        f"办件编号{document.case_no}。"
    )
    yield (
        f"{INDENT}{_provisions(document)}：申请材料不齐全或者不符合法定形式的，承办机关将在五个工作日内一次告知需要补正的"
        "全部内容；逾期不告知的，自收到申请材料之日起即为受理。本凭证不代表申请已被受理。"
    )
    yield from _materials(document)


def _receipt(document: Document) -> Iterator[str]:
    yield (
        f"{_application(document)}，申请材料经审查符合受理条件。{_provisions(document)}，本机关自"
        f"{chinese_date(document.accepted_on)}起予以受理。"
    )
    yield f"{INDENT}法定办理期限至{_due(document.legal_due)}，承诺办理期限至{_due(document.promised_due)}。"
    yield f"{INDENT}期限按工作日计算的，不含法定节假日；听证、检验、检测、鉴定、专家评审和补正材料的时间不计入期限。"
    yield from _materials(document)


def _refusal(document: Document) -> Iterator[str]:
    yield f"{_application(document)}，{_provisions(document)}，本机关决定不予受理。"
    yield from _numbered("理由", document.reasons)
    if document.competent_body:
        yield f"{INDENT}请向有权机关申请：{document.competent_body}。"
    yield f"{INDENT}救济途径：{document.remedies}"


def _correction(document: Document) -> Iterator[str]:
    yield f"{_application(document)}，经审查需要补正。{_provisions(document)}，现一次告知需要补正的全部内容："
    for line in document.lines:
        yield _correction_line(line)
    yield f"{INDENT}请对照以上各项逐项补正，并注明本告知书文书编号。补正材料的时间不计入办理期限。"


def _correction_line(line: CorrectionLine) -> str:
    basis = f"（依据：{line.basis}）" if line.basis else ""
    return f"{INDENT}{line.line}．{line.subject}：{line.defect}。需要提供：{line.required}。{basis}"


def _granted(document: Document) -> Iterator[str]:
    certificate = document.certificate
    yield (
        f"{_application(document)}，本机关于{chinese_date(document.accepted_on)}受理。经审查，符合法定条件、标准。"
        f"{_provisions(document)}，决定准予。"
    )
    yield f"{INDENT}证照名称：{certificate.name}；证照编号：{certificate.number}；有效期：{_validity(document)}。"
    yield from _opinions(document)
    yield from _numbered("准予的条件", document.conditions)
    yield f"{INDENT}本机关将自作出决定之日起十日内向你（单位）颁发、送达证照。"


def _validity(document: Document) -> str:
    certificate = document.certificate
    begin = chinese_date(certificate.valid_from) if certificate.HasField("valid_from") else "自颁发之日"
    end = f"至{chinese_date(certificate.valid_to)}" if certificate.HasField("valid_to") else "起长期有效"
    return begin + end


def _denied(document: Document) -> Iterator[str]:
    yield (
        f"{_application(document)}，本机关于{chinese_date(document.accepted_on)}受理。经审查，{_provisions(document)}，"
        "决定不予批准。"
    )
    yield from _opinions(document)
    yield from _numbered("理由", document.reasons)
    yield f"{INDENT}救济途径：{document.remedies}"


def _application(document: Document) -> str:
    day = chinese_date(document.received_on)
    return f"{INDENT}你（单位）于{day}提出的“{document.item_name}”申请（办件编号{document.case_no}）"


def _provisions(document: Document) -> str:
    return ("" if _by_analogy(document) else "根据") + "、".join(document.basis) + "的规定"


def _materials(document: Document) -> Iterator[str]:
    yield from _numbered("已收到的材料", document.materials)


def _opinions(document: Document) -> Iterator[str]:
    yield from _numbered("有关部门的意见", document.opinions)


def _numbered(head: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if number == 1:
            yield f"{INDENT}{head}："
        yield f"{INDENT}{number}．{line}"


def _due(due: DueDate) -> str:
    note = "（次年放假安排尚未公布，日期为暂定）" if due.provisional else ""
    return chinese_date(due.date) + note


def _foot(document: Document) -> Iterator[str]:
    yield ""
    if document.officer.name:
        yield f"经办人：{document.officer.name}"
    if document.contact:
        yield f"联系方式：{document.contact}"
    yield document.issuer.name
    if document.issuer.credit_code:
        yield f"统一社会信用代码：{document.issuer.credit_code}"
    yield _issued_on(document.issued_at)


def _issued_on(moment: Timestamp) -> str:
    return chinese_date(legal_date(moment))


_Body = Callable[[Document], Iterable[str]]

_KINDS: dict[int, tuple[str, _Body]] = {
    Document.KIND_SUBMISSION_VOUCHER: ("收件凭证", _voucher),
    Document.KIND_ACCEPTANCE_RECEIPT: ("受理通知书", _receipt),
    Document.KIND_ACCEPTANCE_REFUSAL: ("不予受理通知书", _refusal),
    Document.KIND_CORRECTION_NOTICE: ("补正告知书", _correction),
    Document.KIND_DECISION_GRANTED: ("准予{permit}决定书", _granted),
    Document.KIND_DECISION_DENIED: ("不予{permit}决定书", _denied),
}

_RENDERINGS: dict[int, Callable[[Document], str]] = {1: _render_1}
