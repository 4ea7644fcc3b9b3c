import copy
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.type.date_pb2 import Date
from stdnum.cn import uscc

from ronghe.catalog.v1 import catalog_pb2 as pb
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.party.v1.party_pb2 import FormValue
from servers.catalog import catalog as catalog_module
from servers.catalog.catalog import DATA, Catalog
from servers.catalog.organs import Department
from servers.catalog.validation import CatalogError
from servers.kernel.stream import Refused

TODAY = Date(year=2026, month=11, day=23)
CATALOG = Catalog.load()
ITEMS = CATALOG.items_in_force(TODAY)
DEPARTMENTS = [
    Department(entry["id"], entry["name"], [pb.Tier.Value(tier) for tier in entry["tiers"]])
    for entry in catalog_module._read(DATA / "departments.json")
]


def altered(code: str, change: Callable[[pb.ServiceItem], None]) -> Catalog:
    """The real catalog with one item changed."""
    items = [copy.deepcopy(item) for item in ITEMS]
    change(next(item for item in items if item.code == code))
    return Catalog(items, list(CATALOG.divisions.values()), DEPARTMENTS)


def test_the_catalog_holds_thirty_items_each_with_a_form_and_a_governance_category() -> None:
    assert len(ITEMS) == 30
    assert all(item.form and item.event_categories and item.materials for item in ITEMS)


def test_one_rule_shows_deemed_agreement_and_says_that_it_is_a_demonstration() -> None:
    deemed = [c for item in ITEMS for c in item.collaborators if c.silence_policy == pb.SILENCE_POLICY_DEEMED_AGREED]
    assert len(deemed) == 1
    assert deemed[0].demonstration
    assert deemed[0].silence_basis


def deem_agreed(kind: "pb.CollaborationKind.ValueType") -> Callable[[pb.ServiceItem], None]:
    def change(item: pb.ServiceItem) -> None:
        rule = item.collaborators[0]
        rule.silence_policy, rule.silence_basis, rule.kind = pb.SILENCE_POLICY_DEEMED_AGREED, "文件", kind

    return change


def set_rule(**fields: Any) -> Callable[[pb.ServiceItem], None]:
    def change(item: pb.ServiceItem) -> None:
        for name, value in fields.items():
            setattr(item.collaborators[0], name, value)

    return change


def set_condition(**fields: Any) -> Callable[[pb.ServiceItem], None]:
    def change(item: pb.ServiceItem) -> None:
        condition = next(c.when for c in item.collaborators if c.when.expression != "true")
        for name, value in fields.items():
            if isinstance(value, str):
                setattr(condition, name, value)
            else:
                del getattr(condition, name)[:]
                getattr(condition, name).extend(value)

    return change


def become_immediate(item: pb.ServiceItem) -> None:
    item.case_type = pb.CASE_TYPE_IMMEDIATE


def lose_categories(item: pb.ServiceItem) -> None:
    del item.event_categories[:]


def match_the_promise(item: pb.ServiceItem) -> None:
    item.collaborators[0].reply_limit.value = item.promised_limit.value


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (set_rule(department="URBAN_MGMT"), "resolves to the lead itself"),
        (set_rule(silence_policy=pb.SILENCE_POLICY_DEEMED_AGREED, silence_basis=""), "silence_basis is empty"),
        (deem_agreed(pb.COLLABORATION_KIND_CO_APPROVAL), "never agreement in a co-approval or a verification"),
        (deem_agreed(pb.COLLABORATION_KIND_VERIFICATION), "never agreement in a co-approval or a verification"),
        (match_the_promise, "not below the item's promise"),
        (become_immediate, "no time to ask collaborators"),
        (lose_categories, "names no governance event category"),
        (set_condition(expression="depth > 1.0"), "uses depth, which the form does not declare"),
        (set_condition(expression="dig_depth_m >"), "is no expression"),
        (set_condition(expression="dig_depth_m"), "is not true for its own true example"),
        (set_condition(true_example=[FormValue(name="dig_depth_m", number=0)]), "not true for its own true example"),
        (set_condition(false_example=[FormValue(name="dig_depth_m", number=9)]), "not false for its own false example"),
        (set_condition(false_example=[]), "has no example that makes it false"),
        (set_rule(tier=pb.TIER_TOWN), "sits at TIER_TOWN"),
    ],
)
def test_a_catalog_that_breaks_a_rule_is_not_loaded(change: Callable[[pb.ServiceItem], None], problem: str) -> None:
    with pytest.raises(CatalogError, match=problem) as error:
        altered("IT-001", change)
    assert "IT-001 version 1" in str(error.value)


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
