import copy
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.type.date_pb2 import Date
from stdnum.cn import uscc

from ronghe.catalog.v1 import catalog_pb2 as pb
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.party.v1.party_pb2 import FormValue
from servers.catalog.catalog import Catalog
from servers.kernel.stream import Refused
from tests.unit.catalog_support import CATALOG, DEPARTMENTS, ITEMS, TODAY


def test_the_catalog_holds_thirty_items_each_with_a_form_and_a_governance_category() -> None:
    assert len(ITEMS) == 30
    assert all(item.form and item.event_categories and item.materials for item in ITEMS)


def test_one_rule_shows_deemed_agreement_and_says_that_it_is_a_demonstration() -> None:
    deemed = [c for item in ITEMS for c in item.collaborators if c.silence_policy == pb.SILENCE_POLICY_DEEMED_AGREED]
    assert len(deemed) == 1
    assert deemed[0].demonstration
    assert deemed[0].silence_basis


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.code)
def test_every_item_has_exactly_one_lead_in_every_division_of_its_tier(item: pb.ServiceItem) -> None:
    for division in CATALOG.divisions.values():
        if division.tier >= item.default_tier and not division.HasField("valid_to"):
            organ = CATALOG.resolve(item.lead_department, division.code, item.default_tier, TODAY)
            assert (organ.department, organ.tier) == (item.lead_department, item.default_tier)
            assert organ.division in {above.code for above in CATALOG.ancestors(division.code)}


def test_a_place_above_the_tier_is_not_resolved_and_the_refusal_names_what_was_asked() -> None:
    with pytest.raises(Refused) as refused:
        CATALOG.resolve("TOWN_GOV", "500103", pb.TIER_TOWN)
    assert refused.value.reason == Reason.REASON_ORGAN_NOT_RESOLVED
    assert refused.value.metadata["department"] == "TOWN_GOV"


def test_an_abolished_division_has_no_organ_any_more() -> None:
    with pytest.raises(Refused):
        CATALOG.resolve("FIRE", "500105", pb.TIER_DISTRICT, TODAY)
    before = Date(year=2026, month=1, day=24)
    assert CATALOG.resolve("FIRE", "500105", pb.TIER_DISTRICT, before).id == "fire-500105"


def test_every_organ_has_a_credit_code_of_its_own_with_a_right_check_digit() -> None:
    codes = [organ.credit_code for organ in CATALOG.organs.values()]
    assert len(set(codes)) == len(codes)
    assert all(uscc.is_valid(code) for code in codes)


def test_towns_have_stations_of_market_regulation_and_civil_affairs() -> None:
    found = {organ.department for organ in CATALOG.organs.values() if organ.tier == pb.TIER_TOWN}
    assert found == {"TOWN_GOV", "MARKET_REG", "CIVIL_AFFAIRS"}


def test_there_is_a_center_for_each_division_below_the_center_of_the_division_above() -> None:
    assert CATALOG.centers.keys() == CATALOG.divisions.keys()
    for center in CATALOG.centers.values():
        division = CATALOG.division(center.division)
        assert (center.id, center.tier, center.parent) == (division.code, division.tier, division.parent)
        assert center.valid_to == division.valid_to
    assert [center.id for center in CATALOG.centers.values() if not center.parent] == ["500000"]


@pytest.mark.parametrize(
    ("center_id", "name"),
    [
        ("500000", "重庆市城市运行和治理中心"),
        ("500103", "渝中区城市运行和治理中心"),
        ("500103003", "解放碑街道基层治理指挥中心"),
        ("500104103", "跳磴镇基层治理指挥中心"),
    ],
)
def test_a_center_is_named_as_its_tier_names_them(center_id: str, name: str) -> None:
    assert CATALOG.center(center_id).name == name


def test_who_is_not_there_is_not_found() -> None:
    with pytest.raises(Refused) as center:
        CATALOG.center("999999")
    with pytest.raises(Refused) as organ:
        CATALOG.organ("fire-999999")
    assert center.value.reason == Reason.REASON_CENTER_NOT_FOUND
    assert organ.value.reason == Reason.REASON_ORGAN_NOT_FOUND


@pytest.mark.parametrize(("persons", "tier"), [(4999, pb.TIER_DISTRICT), (5000, pb.TIER_MUNICIPAL)])
def test_a_tier_rule_moves_the_lead(persons: int, tier: "pb.Tier.ValueType") -> None:
    item = CATALOG.item("IT-009", TODAY)
    assert CATALOG.lead(item, "500103", [FormValue(name="persons", number=persons)]).tier == tier


def test_a_version_is_in_force_between_its_dates() -> None:
    newer = copy.deepcopy(CATALOG.item("IT-001", TODAY))
    newer.version, newer.name = 2, "新版"
    newer.effective_from.CopyFrom(Date(year=2027, month=1, day=1))
    both = Catalog([*ITEMS, newer], list(CATALOG.divisions.values()), DEPARTMENTS)
    assert both.item("IT-001", Date(year=2026, month=12, day=31)).version == 1
    assert both.item("IT-001", Date(year=2027, month=1, day=1)).version == 2
    assert both.item_version("IT-001", 1).version == 1
    with pytest.raises(Refused) as refused:
        both.item("IT-001", Date(year=2025, month=12, day=31))
    assert refused.value.reason == Reason.REASON_ITEM_NOT_IN_FORCE


@pytest.mark.parametrize(
    ("form", "personal", "problem"),
    [
        ([{"name": "unknown", "text": "x"}], [], "no such field"),
        ([{"name": "household_size", "text": "three"}], [], "must be a number, and is a text"),
        ([{"name": "bank_account", "text": "1"}], [], "belongs into personal.form"),
        ([], [{"name": "household_size", "number": 3}], "belongs into form"),
        ([], [], "is required"),
        ([{"name": "household_size", "number": 3}, {"name": "household_size", "number": 3}], [], "stands twice"),
    ],
)
def test_a_form_is_checked_against_its_declaration(form: list[Any], personal: list[Any], problem: str) -> None:
    item = CATALOG.item("IT-028", TODAY)
    with pytest.raises(Refused, match=problem) as refused:
        CATALOG.check_form(
            item, [ParseDict(v, FormValue()) for v in form], [ParseDict(v, FormValue()) for v in personal]
        )
    assert refused.value.reason == Reason.REASON_INVALID_FORM
