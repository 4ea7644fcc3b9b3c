"""What must hold of a catalog before anything is served from it."""

from collections.abc import Callable, Iterator, Sequence

from ronghe.catalog.v1.catalog_pb2 import (
    CASE_TYPE_IMMEDIATE,
    COLLABORATION_KIND_CO_APPROVAL,
    COLLABORATION_KIND_VERIFICATION,
    SILENCE_POLICY_DEEMED_AGREED,
    Collaborator,
    Limit,
    ServiceItem,
    Tier,
)
from servers.catalog.conditions import fault_of


class CatalogError(Exception):
    """The catalog cannot be served; the text names the item, the rule, and what to mend."""


Serves = Callable[[str, "Tier.ValueType"], bool]
"""Whether a department type has organs at a tier."""


def faults_of(item: ServiceItem, serves: Serves) -> Iterator[str]:
    """Everything that is wrong with an item."""
    if not item.event_categories:
        yield "it names no governance event category"
    if not serves(item.lead_department, item.default_tier):
        yield f"no {item.lead_department} sits at {Tier.Name(item.default_tier)}"
    if not item.applicant_types:
        yield "it serves nobody: applicant_types is empty"
    if len({field.name for field in item.form}) != len(item.form):
        yield "its form declares a field twice"
    if item.case_type == CASE_TYPE_IMMEDIATE and item.collaborators:
        yield "an immediate item has no time to ask collaborators"
    yield from _faults_of_rules(item, serves)


def _faults_of_rules(item: ServiceItem, serves: Serves) -> Iterator[str]:
    for rule in item.tier_rules:
        fault = fault_of(rule.when, item.form)
        if fault:
            yield f"tier rule: {fault}"
    if len({collaborator.id for collaborator in item.collaborators}) != len(item.collaborators):
        yield "two collaborators have the same id"
    for collaborator in item.collaborators:
        for fault in _faults_of_collaborator(item, collaborator, serves):
            yield f"collaborator {collaborator.id}: {fault}"


def _faults_of_collaborator(item: ServiceItem, collaborator: Collaborator, serves: Serves) -> Iterator[str]:
    if collaborator.department == item.lead_department and collaborator.tier in _lead_tiers(item):
        yield "it resolves to the lead itself"
    if not serves(collaborator.department, collaborator.tier):
        yield f"no {collaborator.department} sits at {Tier.Name(collaborator.tier)}"
    if collaborator.silence_policy == SILENCE_POLICY_DEEMED_AGREED:
        if not collaborator.silence_basis:
            yield "silence cannot be agreement without a document that says so: silence_basis is empty"
        if collaborator.kind in (COLLABORATION_KIND_CO_APPROVAL, COLLABORATION_KIND_VERIFICATION):
            yield "silence is never agreement in a co-approval or a verification"
    if not _shortest(item.promised_limit) > _longest(collaborator.reply_limit):
        yield "its reply limit is not below the item's promise"
    undeclared = set(collaborator.discloses) - {field.name for field in item.form}
    if undeclared:
        yield f"it discloses {', '.join(sorted(undeclared))}, which the form does not declare"
    fault = fault_of(collaborator.when, item.form)
    if fault:
        yield fault


def _lead_tiers(item: ServiceItem) -> Sequence["Tier.ValueType"]:
    return [item.default_tier, *(rule.tier for rule in item.tier_rules)]


# Limits in different units are compared at their worst: five working days are at least five days, and a week at most.
def _shortest(limit: Limit) -> float:
    return float(limit.value)


def _longest(limit: Limit) -> float:
    weekend = 2 if limit.unit == Limit.UNIT_WORKING_DAY else 0
    return float(limit.value) if limit.value < 1 else limit.value + weekend * ((limit.value - 1) // 5)
