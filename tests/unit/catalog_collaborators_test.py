"""Whom an application's rules ask, and what of it they may see."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ronghe.case.v1.case_pb2 import Application
from ronghe.catalog.v1 import catalog_pb2 as pb
from ronghe.catalog.v1.catalog_service_pb2 import PreviewCollaboratorsRequest, PreviewCollaboratorsResponse
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.party.v1.party_pb2 import FormValue, Party, PersonalData
from servers.catalog.disclosure import APPLICANT, disclosed
from servers.catalog.preview import preview
from servers.catalog.rules import is_required
from servers.kernel.stream import Refused
from tests.unit.catalog_support import CATALOG, ITEMS, TODAY, altered, rule_of

SIZE = FormValue(name="household_size", number=3)
RURAL = FormValue(name="rural", flag=False)
ACCOUNT = FormValue(name="bank_account", text="6217-account")
REGISTER = FormValue(name="household_register_no", text="HR-register")
APPLICATION = Application(
    form=[SIZE, RURAL],
    personal=PersonalData(
        applicant=Party(
            name="张三", id_type="111", id_number="50010319000101001X", mobile="13800000000", address="解放碑1号"
        ),
        agent=Party(
            name="李四", id_type="111", id_number="500103190002020021", mobile="13900000000", address="大坪2号"
        ),
        legal_representative="王五",
        form=[ACCOUNT, REGISTER],
    ),
)
NAMES = [*APPLICANT, "household_size", "rural", "bank_account", "household_register_no"]


def asked(
    code: str, division: str, *places: str, form: Sequence[FormValue] = (), version: int = 0
) -> PreviewCollaboratorsResponse:
    request = PreviewCollaboratorsRequest(
        item_code=code,
        item_version=version,
        division=division,
        places=[pb.Place(division=place) for place in places],
        form=form,
    )
    return preview(CATALOG, request, TODAY)


def refusal(code: str, division: str, *places: str, form: Sequence[FormValue] = ()) -> "Reason.ValueType":
    with pytest.raises(Refused) as refused:
        asked(code, division, *places, form=form)
    return refused.value.reason


def organs_of(response: PreviewCollaboratorsResponse) -> dict[str, list[str]]:
    return {each.rule.id: [organ.id for organ in each.organs] for each in response.collaborators}


# --- disclosure ---


def test_nothing_named_is_nothing_disclosed() -> None:
    assert disclosed(APPLICATION, []) == ([], None)


def test_plain_fields_alone_disclose_nothing_personal() -> None:
    assert disclosed(APPLICATION, ["household_size"]) == ([SIZE], None)


def test_a_number_is_disclosed_with_the_kind_of_paper_it_stands_on() -> None:
    form, personal = disclosed(APPLICATION, ["applicant.name", "applicant.id_number"])
    assert form == []
    assert personal == PersonalData(applicant=Party(name="张三", id_type="111", id_number="50010319000101001X"))


def test_personal_fields_of_the_form_stay_among_personal_data() -> None:
    form, personal = disclosed(APPLICATION, ["household_register_no", "rural"])
    assert form == [RURAL]
    assert personal == PersonalData(form=[REGISTER])


def test_what_was_left_out_is_not_disclosed() -> None:
    assert disclosed(Application(form=[SIZE]), NAMES) == ([SIZE], None)


@given(st.lists(st.sampled_from(NAMES)))
def test_what_is_not_named_is_never_disclosed_nor_the_agent_or_the_legal_representative(names: list[str]) -> None:
    before = APPLICATION.SerializeToString(deterministic=True)
    form, personal = disclosed(APPLICATION, names)
    found = personal or PersonalData()
    values = {value.name for value in (*form, *found.form)}
    applicant = {field.name for field, _ in found.applicant.ListFields()} - {"id_type"}
    assert values | {f"applicant.{name}" for name in applicant} == set(names)
    assert not found.HasField("agent")
    assert not found.legal_representative
    assert APPLICATION.SerializeToString(deterministic=True) == before


def test_a_household_is_verified_with_the_applicant_s_name_and_number_by_law() -> None:
    for rule in CATALOG.item("IT-028", TODAY).collaborators:
        assert rule.kind == pb.COLLABORATION_KIND_VERIFICATION
        assert {"applicant.name", "applicant.id_number"} <= set(rule.discloses)
        assert rule.basis == "社会救助暂行办法 第五十八条"


# --- rules ---


def test_a_law_that_lets_the_lead_ask_does_not_make_the_answer_required() -> None:
    assert not is_required(rule_of("IT-028", "hrss"))
    assert is_required(rule_of("IT-001", "traffic-police"))


def test_every_required_answer_rests_on_an_article_of_law() -> None:
    required = [rule for item in ITEMS for rule in item.collaborators if is_required(rule)]
    assert required
    assert all("第" in rule.basis and "条" in rule.basis for rule in required)


def test_the_overseer_is_not_asked_before_the_decision() -> None:
    kinds = {rule.id: rule.kind for rule in CATALOG.item("IT-017", TODAY).collaborators}
    assert kinds["town-gov"] == pb.COLLABORATION_KIND_OVERSIGHT
    assert "town-gov" not in organs_of(asked("IT-017", "500103"))


# --- preview ---


def test_a_rule_without_a_condition_asks_always_and_one_with_a_condition_when_it_holds() -> None:
    assert list(organs_of(asked("IT-001", "500103"))) == ["traffic-police", "town-gov"]
    digging = [FormValue(name="dig_depth_m", number=1.5)]
    assert list(organs_of(asked("IT-001", "500103", form=digging))) == ["traffic-police", "econ-info", "town-gov"]


def test_required_is_who_the_law_requires() -> None:
    required = {each.rule.id: each.required for each in asked("IT-001", "500103").collaborators}
    assert required == {"traffic-police": True, "town-gov": False}


def test_each_organ_stands_once_however_many_places_it_serves() -> None:
    found = organs_of(asked("IT-001", "500103", "500103003", "500107005", "500103010", "500103003"))
    assert found == {
        "traffic-police": ["traffic-police-500103", "traffic-police-500107"],
        "town-gov": ["town-gov-500103003", "town-gov-500107005", "town-gov-500103010"],
    }


def test_a_place_that_no_organ_serves_alone_is_named_once_and_the_others_are_asked() -> None:
    found = {each.rule.id: each for each in asked("IT-001", "500103", "500107", "500103003", "500107").collaborators}
    assert found["town-gov"].unresolved_divisions == ["500107"]
    assert [organ.id for organ in found["town-gov"].organs] == ["town-gov-500103003"]
    assert not found["traffic-police"].unresolved_divisions


def test_without_places_it_takes_effect_where_it_is_handled() -> None:
    assert asked("IT-001", "500103003") == asked("IT-001", "500103003", "500103003")


def test_a_rule_without_a_tier_asks_at_the_tier_of_the_lead() -> None:
    untiered = altered("IT-001", lambda item: item.collaborators[0].ClearField("tier"))
    for city_road, tier in ((False, pb.TIER_DISTRICT), (True, pb.TIER_MUNICIPAL)):
        form = [FormValue(name="city_managed_road", flag=city_road)]
        request = PreviewCollaboratorsRequest(item_code="IT-001", division="500103", form=form)
        response = preview(untiered, request, TODAY)
        assert (response.lead.tier, response.collaborators[0].organs[0].tier) == (tier, tier)


def test_answers_that_are_missing_are_fine_and_wrong_ones_are_not() -> None:
    assert asked("IT-028", "500103003").collaborators
    assert refusal("IT-028", "500103003", form=[ACCOUNT]) == Reason.REASON_INVALID_FORM
    assert refusal("IT-028", "500103003", form=[FormValue(name="rural", text="x")]) == Reason.REASON_INVALID_FORM


@pytest.mark.parametrize(
    ("code", "division", "place", "reason"),
    [
        ("IT-999", "500103", "500103", Reason.REASON_ITEM_NOT_FOUND),
        ("IT-001", "999999", "500103", Reason.REASON_DIVISION_NOT_FOUND),
        ("IT-001", "500103", "999999", Reason.REASON_DIVISION_NOT_FOUND),
        ("IT-028", "500103", "500103", Reason.REASON_ORGAN_NOT_RESOLVED),
        ("IT-001", "500105", "500103", Reason.REASON_ORGAN_NOT_RESOLVED),
    ],
    ids=["item", "division", "place", "lead of a higher place", "lead of an abolished place"],
)
def test_what_cannot_be_previewed_is_refused(code: str, division: str, place: str, reason: "Reason.ValueType") -> None:
    assert refusal(code, division, place) == reason


def test_an_item_s_version_can_be_named() -> None:
    assert asked("IT-001", "500103", version=1) == asked("IT-001", "500103")
    with pytest.raises(Refused):
        asked("IT-001", "500103", version=9)
