"""The papers of a case, as a person reads them."""

import hashlib

import pytest

from ronghe.case.v1 import case_pb2
from ronghe.document.v1.document_pb2 import Document
from servers.case.documents import with_addressee
from servers.case.rendering import render
from tests import builders
from tests.builders import INTAKE, LEAD
from tests.machines import Mesh


def accepted(**fields: object) -> tuple[Mesh, case_pb2.Case]:
    mesh = builders.mesh()
    case_id = mesh.intake.execute(builders.submission(mesh.clock.now, **fields), INTAKE).case_id
    mesh.settle()
    (case,) = mesh.department.cases()
    judged = {"as_proposed": builders.as_proposed()} if "item_code" in fields else {}
    mesh.department.execute(
        builders.acceptance(case_id, mesh.clock.now, contact="大厅三号窗口", **judged),
        builders.lead_of(case),
    )
    return mesh, case


def text_of(case: case_pb2.Case, kind: "Document.Kind.ValueType") -> str:
    document = next(document for document in case.documents if document.kind == kind)
    return render(with_addressee(document, case))


def test_a_receipt_reads_as_one_from_a_counter() -> None:
    _, case = accepted()
    item, lead = case.application.item, case.application.lead
    names = [rule.name for rule in item.materials if rule.required]
    materials = [f"　　{number}．{name}" for number, name in enumerate(names, 1)]
    assert text_of(case, Document.KIND_ACCEPTANCE_RECEIPT).splitlines() == [
        "受理通知书",
        f"文书编号：{case.case_no}-SL-01",
        "",
        "张三：",
        "",
        f"　　你（单位）于2026年11月23日提出的“{item.name}”申请（办件编号{case.case_no}），申请材料经审查符合受理条件。"
        "根据行政许可法第三十二条第一款第五项、行政许可法第四十二条的规定，本机关自2026年11月23日起予以受理。",
        "　　法定办理期限至2026年12月21日，承诺办理期限至2026年11月30日。",
        "　　期限按工作日计算的，不含法定节假日；听证、检验、检测、鉴定、专家评审和补正材料的时间不计入期限。",
        "　　已收到的材料：",
        *materials,
        "",
        "经办人：李明",
        "联系方式：大厅三号窗口",
        lead.name,
        f"统一社会信用代码：{lead.credit_code}",
        "2026年11月23日",
    ]


def test_the_digest_pins_the_text_with_the_addressee_who_is_not_in_the_event() -> None:
    _, case = accepted()
    for document in case.documents:
        assert not document.HasField("addressee")
        pinned = with_addressee(document, case)
        assert pinned.addressee.name == "张三"
        assert hashlib.sha256(render(pinned).encode()).digest() == document.text_digest
        assert hashlib.sha256(render(document).encode()).digest() != document.text_digest


def test_whoever_may_not_see_the_name_reads_the_rest() -> None:
    _, case = accepted()
    case.application.ClearField("personal")
    assert "\n申请人：\n" in text_of(case, Document.KIND_ACCEPTANCE_RECEIPT)


def test_an_item_that_is_no_permit_follows_the_permit_law_by_analogy() -> None:
    mesh, case = accepted(item_code=builders.ALLOWANCE, division=builders.JIEFANGBEI)
    lead = builders.lead_of(case)
    mesh.department.execute(builders.denial(case.case_id, mesh.clock.now, case.version), lead)
    text = text_of(case, Document.KIND_DECISION_DENIED)
    assert text.startswith("不予决定书\n")
    assert "参照行政许可法第三十八条第二款的规定，决定不予批准。" in text
    assert "　　理由：\n　　1．影响交通安全\n" in text


def test_a_date_beyond_the_published_calendar_is_marked() -> None:
    _, case = accepted()
    receipt = case.documents[-1]
    receipt.legal_due.provisional = True
    assert "法定办理期限至2026年12月21日（次年放假安排尚未公布，日期为暂定）" in render(receipt)


def test_a_grant_names_its_certificate_and_a_refusal_the_competent_body() -> None:
    mesh, case = accepted()
    mesh.department.execute(builders.grant(case.case_id, mesh.clock.now, case.version), LEAD)
    text = text_of(case, Document.KIND_DECISION_GRANTED)
    assert text.startswith("准予行政许可决定书\n")
    assert f"证照名称：{case.application.item.result_document}；证照编号：渝中占道2026第1号；" in text
    assert "　　准予的条件：\n　　1．夜间施工\n" in text


def test_a_correction_notice_tells_every_defect_at_once() -> None:
    mesh = builders.mesh()
    case_id = mesh.intake.execute(builders.submission(mesh.clock.now), INTAKE).case_id
    mesh.settle()
    mesh.department.execute(builders.correction(case_id, mesh.clock.now), LEAD)
    (case,) = mesh.department.cases()
    text = text_of(case, Document.KIND_CORRECTION_NOTICE)
    assert "现一次告知需要补正的全部内容：\n" in text
    assert "　　2．材料2：未加盖公章。需要提供：加盖公章的原件。\n" in text


def test_an_unknown_rendering_version_is_an_error() -> None:
    with pytest.raises(KeyError):
        render(Document(rendering_version=99))
