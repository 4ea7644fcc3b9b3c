from collections.abc import Callable
from typing import Any

import pytest

from ronghe.catalog.v1 import catalog_pb2 as pb
from ronghe.party.v1.party_pb2 import FormValue
from servers.catalog.validation import CatalogError
from tests.unit.catalog_support import altered


def deem_agreed(kind: "pb.CollaborationKind.ValueType") -> Callable[[pb.ServiceItem], None]:
    def change(item: pb.ServiceItem) -> None:
        rule = item.collaborators[0]
        rule.silence_policy, rule.silence_basis, rule.kind = pb.SILENCE_POLICY_DEEMED_AGREED, "文件", kind

    return change


def set_rule(**fields: Any) -> Callable[[pb.ServiceItem], None]:
    def change(item: pb.ServiceItem) -> None:
        for name, value in fields.items():
            if name == "discloses":
                item.collaborators[0].discloses[:] = value
            else:
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
        (set_rule(department="TOWN_GOV", tier=pb.TIER_UNSPECIFIED), "no TOWN_GOV sits at TIER_DISTRICT"),
        (set_rule(department="URBAN_MGMT", tier=pb.TIER_UNSPECIFIED), "resolves to the lead itself"),
        (set_rule(basis=""), "cannot block a case without a law"),
        (set_rule(discloses=["budget"]), "discloses budget: neither a field of the form nor one of applicant.address"),
        (set_rule(discloses=["applicant.agent"]), "discloses applicant.agent: neither"),
    ],
)
def test_a_catalog_that_breaks_a_rule_is_not_loaded(change: Callable[[pb.ServiceItem], None], problem: str) -> None:
    with pytest.raises(CatalogError, match=problem) as error:
        altered("IT-001", change)
    assert "IT-001 version 1" in str(error.value)


def set_tier_rule(**fields: Any) -> Callable[[pb.ServiceItem], None]:
    def change(item: pb.ServiceItem) -> None:
        rule = item.tier_rules[0]
        rule.tier = fields.get("tier", rule.tier)
        rule.when.expression = fields.get("expression", rule.when.expression)

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (set_tier_rule(expression="depth > 1.0"), "tier rule: .*uses depth, which the form does not declare"),
        (set_tier_rule(expression="!city_managed_road"), "tier rule: .*is not true for its own true example"),
        (set_tier_rule(tier=pb.TIER_TOWN), "tier rule: no .* sits at TIER_TOWN"),
    ],
)
def test_a_rule_for_the_leads_tier_is_checked_as_well(change: Callable[[pb.ServiceItem], None], problem: str) -> None:
    with pytest.raises(CatalogError, match=problem):
        altered("IT-001", change)


@pytest.mark.parametrize("unit", [pb.Limit.UNIT_HOUR, pb.Limit.UNIT_MONTH, pb.Limit.UNIT_UNSPECIFIED])
@pytest.mark.parametrize("limit", ["legal", "promised", "reply"])
def test_a_limit_that_is_not_counted_in_days_is_not_loaded(limit: str, unit: "pb.Limit.Unit.ValueType") -> None:
    def change(item: pb.ServiceItem) -> None:
        holder: Any = item.collaborators[0] if limit == "reply" else item
        getattr(holder, f"{limit}_limit").unit = unit

    with pytest.raises(CatalogError, match=f"its {limit} limit is in {pb.Limit.Unit.Name(unit).removeprefix('UNIT_')}"):
        altered("IT-001", change)


@pytest.mark.parametrize("name", ["bank_account", "applicant.name", "applicant.mobile"])
def test_what_is_personal_is_not_disclosed_without_a_law(name: str) -> None:
    with pytest.raises(CatalogError, match=f"discloses {name}, which is personal, without a law"):
        altered("IT-028", set_rule(discloses=["household_size", name], basis=""))


def look_at_the_bank_account(item: pb.ServiceItem) -> None:
    condition = item.collaborators[0].when
    condition.expression = "bank_account != ''"
    condition.true_example.add(name="bank_account", text="6217")
    condition.false_example.add(name="bank_account", text="")


def test_no_condition_looks_at_personal_data() -> None:
    with pytest.raises(CatalogError, match="uses bank_account: no rule may see personal data"):
        altered("IT-028", look_at_the_bank_account)
