"""A plain case, command by command: what each one leads to, and what each one is refused for."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import RFC_4122, UUID, uuid4

import pytest
from google.protobuf.message import Message
from google.type.date_pb2 import Date

from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.catalog.v1 import catalog_pb2
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.document.v1.document_pb2 import Document, Issuer
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.party.v1 import party_pb2
from servers.intake.case_id import case_id
from servers.kernel.stream import Refused, Scope
from tests import builders
from tests.builders import INTAKE, LEAD, OTHER_ORGAN, STRANGER, TERMINAL
from tests.machines import Mesh, snapshot


class Plain:
    """One case, of which everyone hears at once."""

    def __init__(self, **fields: Any) -> None:
        self.mesh: Mesh = builders.mesh()
        self.voucher = self.submit(**fields)
        self.case_id: str = self.voucher.case_id

    @property
    def now(self) -> datetime:
        return self.mesh.clock.now

    def submit(self, caller: Identity = INTAKE, **fields: Any) -> Any:
        response = self.mesh.intake.execute(builders.submission(self.now, **fields), caller)
        self.mesh.settle()
        return response

    def intake(self, command: Message, caller: Identity = INTAKE) -> Any:
        response = self.mesh.intake.execute(command, caller)
        self.mesh.settle()
        return response

    def organ(self, command: Message, caller: Identity = LEAD) -> Any:
        response = self.mesh.department.execute(command, caller)
        self.mesh.settle()
        return response

    def accepted(self) -> "Plain":
        self.organ(builders.acceptance(self.case_id, self.now))
        return self

    def correcting(self) -> "Plain":
        self.organ(builders.correction(self.case_id, self.now))
        return self

    def decided(self) -> "Plain":
        self.organ(builders.grant(self.case_id, self.now, self.case.version))
        return self

    def closed(self) -> "Plain":
        self.organ(builders.closing(self.case_id, self.now))
        return self

    @property
    def case(self) -> case_pb2.Case:
        """As all three see it."""
        views = [next(c for c in m.cases() if c.case_id == self.case_id) for m in self.mesh.machines]
        assert len({snapshot(view) for view in views}) == 1
        return views[0]

    def received_by(self, receiver: str) -> list[str]:
        return [record.type.rpartition(".")[2] for m in self.mesh.machines for record in m.inboxes[receiver]]


@pytest.fixture
def plain() -> Plain:
    return Plain()


def refusal_of(act: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value


# --- submission ---


def test_a_submission_opens_a_case_and_gives_a_voucher_with_its_number_and_query_code(plain: Plain) -> None:
    assert re.fullmatch(r"\d{10}[A-Z]{4}\d{20}", plain.voucher.case_no)
    assert plain.voucher.case_no == "5001030101XKYD20261123010000000001"
    assert plain.voucher.voucher.number == f"{plain.voucher.case_no}-SJ-01"
    assert builders.codes().matches(plain.case_id, plain.voucher.query_code.lower())
    assert not builders.codes().matches(plain.case_id, "2345678923")
    assert plain.case.state == case_pb2.STATE_SUBMITTED
    assert plain.case.outcome == case_pb2.OUTCOME_UNSPECIFIED


@pytest.mark.parametrize(
    ("request_id", "version"), [("0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b", 7), (str(uuid4()), 8)], ids=["v7", "v4"]
)
def test_the_case_id_begins_like_the_request_id_and_is_the_same_at_any_time(
    plain: Plain, request_id: str, version: int
) -> None:
    request = builders.submission(plain.now)
    request.request_id = request_id
    scopes = [Scope(plain.now + timedelta(days=days), uuid4, lambda _: 1, TERMINAL) for days in (0, 3)]
    first, later = (UUID(case_id(request, scope)) for scope in scopes)
    assert first == later
    assert str(first)[:13] == request_id[:13]
    assert (first.version, first.variant) == (version, RFC_4122)
    assert plain.submit().case_id != plain.case_id


def test_numbers_count_on_within_a_day_and_begin_anew_the_next(plain: Plain) -> None:
    assert plain.submit().case_no[-10:] == "0000000002"
    plain.mesh.clock.advance(hours=14, minutes=59)
    assert plain.submit().case_no[14:] == "20261123010000000003"
    plain.mesh.clock.advance(minutes=1)
    assert plain.submit().case_no[14:] == "20261124010000000001"


def test_the_application_carries_the_item_the_lead_and_a_place(plain: Plain) -> None:
    application = plain.case.application
    assert application.item.code == builders.ROAD_WORKS
    assert application.lead.id == LEAD.id
    assert application.lead.deployment == "department-01"
    assert [place.division for place in application.places] == [builders.YUZHONG]
    assert application.intake_id == INTAKE.id


def test_the_voucher_is_signed_with_the_name_of_the_intake_system_or_with_its_id() -> None:
    plain = Plain()
    other = plain.submit(caller=Identity("intake", "another"))

    assert plain.voucher.voucher.issuer == Issuer(id=INTAKE.id, name="渝快办")
    assert other.voucher.issuer == Issuer(id="another", name="another")


def test_a_terminal_submits_for_its_intake_system() -> None:
    plain = Plain()
    response = plain.submit(caller=TERMINAL)
    plain.intake(builders.withdrawal(response.case_id, plain.now), INTAKE)


def test_a_parent_case_is_kept() -> None:
    parent = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert Plain(parent_case_id=parent).case.application.parent_case_id == parent


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"occurred_at": builders.at(datetime(2025, 12, 31, tzinfo=UTC))}, Reason.REASON_ITEM_NOT_IN_FORCE),
        ({"item_code": builders.ALLOWANCE}, Reason.REASON_ORGAN_NOT_RESOLVED),
        ({"division": "999999"}, Reason.REASON_DIVISION_NOT_FOUND),
        ({"places": [catalog_pb2.Place(division="999999")]}, Reason.REASON_DIVISION_NOT_FOUND),
        (
            {"item_code": builders.ALLOWANCE, "applicant_type": party_pb2.APPLICANT_TYPE_ENTERPRISE},
            Reason.REASON_APPLICANT_NOT_SERVED,
        ),
        ({"form": [party_pb2.FormValue(name="no_such_field", text="x")]}, Reason.REASON_INVALID_FORM),
        ({"materials": []}, Reason.REASON_MATERIAL_MISSING),
    ],
)
def test_a_submission_that_breaks_a_rule_is_refused(fields: dict[str, Any], reason: "Reason.ValueType") -> None:
    assert refusal_of(lambda: Plain(**fields)).reason == reason


def test_an_item_that_nobody_knows_is_refused(plain: Plain) -> None:
    command = builders.submission(plain.now)
    command.item_code = "IT-999"
    assert refusal_of(lambda: plain.intake(command)).reason == Reason.REASON_ITEM_NOT_FOUND


def test_a_material_that_the_item_does_not_know_is_named() -> None:
    (violation,) = refusal_of(lambda: Plain(materials=[builders.material("M-99")])).violations
    assert violation.field == "materials[0].code"


def test_a_required_material_may_be_missing_where_it_may_follow() -> None:
    required = [rule for rule in builders.item_of().materials if rule.required]
    at_once = [builders.material(rule.code) for rule in required if not rule.deferrable]
    assert len(at_once) < len(required)
    assert Plain(materials=at_once).case.state == case_pb2.STATE_SUBMITTED


@pytest.mark.parametrize(
    ("id_type", "number", "is_right"),
    [
        ("111", "50010319000101001X", True),
        ("111", "500103190001010010", False),
        ("111", "500103190013010017", False),  # its digit is right, but there is no month 13
        ("111", "500103", False),
        ("111", "50010319000101001x", False),
        ("001", "91500103MA0000001U", True),
        ("001", "91500103MA00000013", False),
        ("414", "E12345678", True),
    ],
)
def test_check_digits_of_citizen_ids_and_credit_codes_are_checked(id_type: str, number: str, is_right: bool) -> None:
    party = party_pb2.Party(name="张三", id_type=id_type, id_number=number)
    personal = party_pb2.PersonalData(applicant=builders.citizen(), agent=party)
    if is_right:
        assert Plain(personal=personal)
        return
    refused = refusal_of(lambda: Plain(personal=personal))
    assert refused.reason == Reason.REASON_INVALID_CHECK_DIGIT
    assert [violation.field for violation in refused.violations] == ["personal.agent.id_number"]
    assert number not in str(refused)


def test_a_clock_may_be_two_minutes_ahead_and_no_more(plain: Plain) -> None:
    plain.submit(occurred_at=builders.at(plain.now + timedelta(seconds=120)))
    late = plain.now + timedelta(seconds=121)
    refused = refusal_of(lambda: plain.submit(occurred_at=builders.at(late)))
    assert refused.reason == Reason.REASON_OCCURRED_AT_OUT_OF_RANGE
    assert refused.metadata == {"earliest": "1970-01-01T00:00:00Z", "latest": "2026-11-23T01:02:00Z"}


# --- acceptance ---


def test_acceptance_gives_a_receipt_with_the_last_days_by_law_and_by_promise(plain: Plain) -> None:
    response = plain.organ(builders.acceptance(plain.case_id, plain.now, contact="023-00000000"))
    case = plain.case
    assert case.state == case_pb2.STATE_ACCEPTED
    assert response.version == case.version == 2
    assert response.receipt.number == f"{case.case_no}-SL-01"
    assert response.receipt.accepted_on == Date(year=2026, month=11, day=23)
    # 20 and 5 working days after Monday 2026-11-23, that day not counted.
    assert case.legal_due.date == Date(year=2026, month=12, day=21)
    assert case.promised_due.date == Date(year=2026, month=11, day=30)


def test_the_judgement_is_recorded_beside_what_the_rules_propose(plain: Plain) -> None:
    explicit = department.AcceptApplicationRequest.Explicit(reason="占道须交警同意", rules=["traffic-police"])
    plain.organ(builders.acceptance(plain.case_id, plain.now, explicit=explicit))
    recorded = plain.case.judgement
    assert recorded.collaboration_needed
    assert recorded.reason == "占道须交警同意"
    assert recorded.rules_to_ask == ["traffic-police"]
    assert recorded.proposed_by_rules == ["traffic-police", "town-gov"]


def test_a_missing_material_may_be_deferred_and_comes_with_a_supplement() -> None:
    required = [rule for rule in builders.item_of().materials if rule.required]
    deferrable = next(rule.code for rule in required if rule.deferrable)
    others = [builders.material(rule.code) for rule in required if rule.code != deferrable]
    plain = Plain(materials=others)
    plain.organ(builders.acceptance(plain.case_id, plain.now, deferred_materials=[deferrable]))
    assert list(plain.case.deferred_materials) == [deferrable]
    plain.organ(builders.correction(plain.case_id, plain.now, lines=1))
    answers = [case_pb2.LineAnswer(line=1, materials=[builders.material(deferrable)])]
    plain.intake(builders.supplement(plain.case, plain.now, answers=answers))
    assert list(plain.case.deferred_materials) == []


@pytest.mark.parametrize("is_deferrable", [True, False])
def test_only_what_is_missing_and_may_follow_can_be_deferred(plain: Plain, is_deferrable: bool) -> None:
    rules = plain.case.application.item.materials
    code = next(rule.code for rule in rules if rule.required and rule.deferrable == is_deferrable)
    command = builders.acceptance(plain.case_id, plain.now, deferred_materials=[code])
    refused = refusal_of(lambda: plain.organ(command))
    assert refused.reason == Reason.REASON_INVALID_FIELD
    assert refused.violations[0].field == "deferred_materials[0]"


def test_another_organ_does_not_find_the_case(plain: Plain) -> None:
    refused = refusal_of(lambda: plain.organ(builders.acceptance(plain.case_id, plain.now), OTHER_ORGAN))
    assert refused.reason == Reason.REASON_CASE_NOT_FOUND
    unknown = builders.acceptance("01890a5d-ac96-774b-bcce-b302099a8057", plain.now)
    assert str(refusal_of(lambda: plain.organ(unknown))) == str(refused)


def test_an_act_may_not_lie_before_the_latest_act_of_a_person(plain: Plain) -> None:
    before = plain.now - timedelta(seconds=1)
    refused = refusal_of(lambda: plain.organ(builders.acceptance(plain.case_id, before)))
    assert refused.reason == Reason.REASON_OCCURRED_AT_OUT_OF_RANGE
    assert refused.metadata["earliest"] == "2026-11-23T01:00:00Z"


def test_a_refusal_of_acceptance_ends_the_case(plain: Plain) -> None:
    command = builders.refusal(plain.case_id, plain.now, competent_body="重庆市城市管理局")
    refusal = plain.organ(command).refusal
    assert plain.case.state == case_pb2.STATE_CLOSED
    assert plain.case.outcome == case_pb2.OUTCOME_ACCEPTANCE_REFUSED
    assert refusal.number.endswith("-BYSL-01")
    assert refusal.basis[0] == "行政许可法第三十二条第一款第二项"


# --- correction ---


def test_a_correction_before_acceptance_waits_for_the_supplement(plain: Plain) -> None:
    notice = plain.correcting().case.documents[-1]
    assert plain.case.state == case_pb2.STATE_CORRECTION_REQUESTED
    assert plain.case.open_notice == notice.number
    assert [line.line for line in notice.lines] == [1, 2]
    plain.intake(builders.supplement(plain.case, plain.now))
    assert plain.case.state == case_pb2.STATE_SUBMITTED
    assert plain.case.open_notice == ""
    assert not plain.case.supplements[0].late


def test_a_second_notice_waits_for_the_answer_to_the_first(plain: Plain) -> None:
    refused = refusal_of(plain.correcting().correcting)
    assert refused.reason == Reason.REASON_CORRECTION_OPEN


def test_notices_are_numbered_within_the_case(plain: Plain) -> None:
    plain.intake(builders.supplement(plain.correcting().case, plain.now))
    assert plain.correcting().case.open_notice.endswith("-BZ-02")


def test_a_correction_after_acceptance_pauses_the_limits(plain: Plain) -> None:
    plain.accepted()
    plain.mesh.clock.advance(days=1)
    plain.correcting()
    (pause,) = plain.case.pauses
    assert plain.case.state == case_pb2.STATE_ACCEPTED
    assert getattr(pause, "from") == Date(year=2026, month=11, day=24)
    assert not pause.HasField("to")
    plain.mesh.clock.advance(days=2)
    plain.intake(builders.supplement(plain.case, plain.now))
    (pause,) = plain.case.pauses
    assert pause.to == Date(year=2026, month=11, day=26)
    # Three working days, the 24th to the 26th, do not count.
    assert plain.case.promised_due.date == Date(year=2026, month=12, day=3)
    assert plain.case.legal_due.date == Date(year=2026, month=12, day=24)


def test_a_grant_waits_for_the_open_correction_and_a_denial_does_not(plain: Plain) -> None:
    plain.accepted().correcting()
    assert refusal_of(plain.decided).reason == Reason.REASON_CORRECTION_OPEN
    plain.organ(builders.denial(plain.case_id, plain.now, plain.case.version))
    assert plain.case.open_notice == ""
    assert plain.case.pauses[0].to == Date(year=2026, month=11, day=23)


@pytest.mark.parametrize(
    ("answers", "reason", "metadata"),
    [
        ([case_pb2.LineAnswer(line=2)], Reason.REASON_LINE_UNANSWERED, {"lines": "1"}),
        ([case_pb2.LineAnswer(line=n) for n in (1, 2, 3)], Reason.REASON_INVALID_FIELD, {}),
        ([case_pb2.LineAnswer(line=n) for n in (1, 2, 2)], Reason.REASON_INVALID_FIELD, {}),
        (
            [case_pb2.LineAnswer(line=1, materials=[builders.material("M-99")]), case_pb2.LineAnswer(line=2)],
            Reason.REASON_INVALID_FIELD,
            {},
        ),
        (
            [
                case_pb2.LineAnswer(line=1, form=[party_pb2.FormValue(name="no_such_field", text="x")]),
                case_pb2.LineAnswer(line=2),
            ],
            Reason.REASON_INVALID_FORM,
            {},
        ),
    ],
)
def test_a_supplement_answers_every_line_once_with_what_the_item_knows(
    plain: Plain, answers: list[case_pb2.LineAnswer], reason: "Reason.ValueType", metadata: dict[str, str]
) -> None:
    case = plain.correcting().case
    refused = refusal_of(lambda: plain.intake(builders.supplement(case, plain.now, answers=answers)))
    assert refused.reason == reason
    assert refused.metadata == metadata


def test_a_notice_is_answered_once_also_while_the_answer_is_on_its_way(plain: Plain) -> None:
    case = plain.correcting().case
    plain.mesh.intake.execute(builders.supplement(case, plain.now), INTAKE)
    again = builders.supplement(case, plain.now)
    refused = refusal_of(lambda: plain.mesh.intake.execute(again, INTAKE))
    assert refused.reason == Reason.REASON_NOTICE_NOT_OPEN
    assert refused.metadata == {"open_notice": ""}


def test_another_notice_than_the_open_one_cannot_be_answered(plain: Plain) -> None:
    plain.correcting()
    command = builders.supplement(plain.case, plain.now, notice_number="BZ-77", answers=[case_pb2.LineAnswer(line=1)])
    refused = refusal_of(lambda: plain.intake(command))
    assert refused.reason == Reason.REASON_NOTICE_NOT_OPEN
    assert refused.metadata == {"open_notice": plain.case.open_notice}


def test_another_intake_system_does_not_find_the_application(plain: Plain) -> None:
    plain.correcting()
    for command in (builders.supplement(plain.case, plain.now), builders.withdrawal(plain.case_id, plain.now)):
        refused = refusal_of(lambda command=command: plain.intake(command, STRANGER))
        assert refused.reason == Reason.REASON_CASE_NOT_FOUND


# --- decision ---


def test_a_step_is_signed_by_the_officer_and_the_state_stays(plain: Plain) -> None:
    plain.accepted().organ(builders.step(plain.case_id, plain.now))
    (step,) = plain.case.steps
    assert step.officer == builders.OFFICER
    assert plain.case.state == case_pb2.STATE_ACCEPTED


def test_a_grant_names_the_certificate_and_a_closing_ends_the_case(plain: Plain) -> None:
    decision = plain.accepted().decided().case.documents[-1]
    assert plain.case.state == case_pb2.STATE_DECIDED
    assert plain.case.outcome == case_pb2.OUTCOME_GRANTED
    assert decision.kind == Document.KIND_DECISION_GRANTED
    assert decision.certificate.name == plain.case.application.item.result_document
    plain.closed()
    assert plain.case.state == case_pb2.STATE_CLOSED
    assert plain.case.outcome == case_pb2.OUTCOME_GRANTED


def test_a_denial_gives_reasons_and_remedies(plain: Plain) -> None:
    decision = plain.accepted().organ(builders.denial(plain.case_id, plain.now, plain.case.version)).decision
    assert plain.case.outcome == case_pb2.OUTCOME_DENIED
    assert decision.reasons
    assert decision.remedies


def test_a_decision_on_what_was_not_seen_is_refused(plain: Plain) -> None:
    plain.accepted()
    seen = plain.case.version
    plain.intake(builders.supplement(plain.correcting().case, plain.now))
    refused = refusal_of(lambda: plain.organ(builders.grant(plain.case_id, plain.now, seen)))
    assert refused.reason == Reason.REASON_CASE_CHANGED
    assert refused.metadata == {"version": str(plain.case.version)}
    plain.decided()


@pytest.mark.parametrize(
    ("valid_to", "field"),
    [(Date(year=2026, month=1, day=1), "valid_to"), (Date(year=2026, month=13, day=1), "valid_to")],
)
def test_a_certificate_ends_on_a_day_after_it_begins(plain: Plain, valid_to: Date, field: str) -> None:
    command = builders.grant(plain.case_id, plain.now, 0)
    command.granted.valid_from.CopyFrom(Date(year=2026, month=12, day=1))
    command.granted.valid_to.CopyFrom(valid_to)
    refused = refusal_of(lambda: plain.accepted().organ(command))
    assert refused.violations[0].field == f"granted.{field}"


# --- legal states ---

COMMANDS = {
    "accept": lambda plain: plain.accepted(),
    "refuse": lambda plain: plain.organ(builders.refusal(plain.case_id, plain.now)),
    "correct": lambda plain: plain.correcting(),
    "step": lambda plain: plain.organ(builders.step(plain.case_id, plain.now)),
    "decide": lambda plain: plain.decided(),
    "close": lambda plain: plain.closed(),
    "supplement": lambda plain: plain.intake(
        builders.supplement(plain.case, plain.now, notice_number="x", answers=[case_pb2.LineAnswer(line=1)])
    ),
    "withdraw": lambda plain: plain.intake(builders.withdrawal(plain.case_id, plain.now)),
}
STATES = {
    "SUBMITTED": (lambda plain: plain, {"accept", "refuse", "correct", "withdraw"}),
    "CORRECTION_REQUESTED": (lambda plain: plain.correcting(), {"refuse", "correct", "supplement", "withdraw"}),
    "ACCEPTED": (lambda plain: plain.accepted(), {"correct", "step", "decide", "supplement", "withdraw"}),
    "DECIDED": (lambda plain: plain.accepted().decided(), {"close"}),
    "CLOSED": (lambda plain: plain.accepted().decided().closed(), set[str]()),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_refused_in_every_state_in_which_it_is_not_legal(
    plain: Plain, state: str, command: str
) -> None:
    reach, legal = STATES[state]
    reach(plain)
    if command in legal:
        return
    before = snapshot(plain.case)
    refused = refusal_of(lambda: COMMANDS[command](plain))
    assert refused.reason == Reason.REASON_ILLEGAL_STATE
    assert refused.metadata["state"] == state
    assert snapshot(plain.case) == before


# --- withdrawal ---


def test_a_withdrawal_before_the_decision_ends_the_case(plain: Plain) -> None:
    plain.accepted()
    response = plain.intake(builders.withdrawal(plain.case_id, plain.now))
    assert response.withdrawal == case_pb2.WITHDRAWAL_STATUS_REQUESTED
    assert plain.case.state == case_pb2.STATE_CLOSED
    assert plain.case.outcome == case_pb2.OUTCOME_WITHDRAWN
    assert plain.case.withdrawal == case_pb2.WITHDRAWAL_STATUS_WITHDRAWN


def test_a_second_withdrawal_waits_for_the_answer_to_the_first(plain: Plain) -> None:
    plain.mesh.intake.execute(builders.withdrawal(plain.case_id, plain.now), INTAKE)
    again = builders.withdrawal(plain.case_id, plain.now)
    refused = refusal_of(lambda: plain.mesh.intake.execute(again, INTAKE))
    assert refused.reason == Reason.REASON_WITHDRAWAL_PENDING


# --- whose inbox ---


def test_everyone_gets_what_he_did_not_do_himself(plain: Plain) -> None:
    plain.intake(builders.supplement(plain.correcting().case, plain.now))
    plain.accepted()
    plain.intake(builders.withdrawal(plain.case_id, plain.now))
    out = ["Submitted", "Supplemented", "WithdrawalRequested"]
    back = ["CorrectionRequested", "SupplementReceived", "Accepted", "Withdrawn"]
    assert plain.received_by("service/governance-01") == out
    assert plain.received_by("service/intake-01") == back
    assert plain.received_by(str(INTAKE)) == back
    assert plain.received_by(str(LEAD)) == [
        "Submitted", "Supplemented", "SupplementReceived", "WithdrawalRequested", "Withdrawn",
    ]  # fmt: skip
