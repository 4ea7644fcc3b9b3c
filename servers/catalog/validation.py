"""What must hold of a catalog before anything is served from it."""

from collections.abc import Callable, Collection, Iterator

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
from servers.catalog.disclosure import APPLICANT
from servers.catalog.rules import is_required


class CatalogError(Exception):
    """The catalog cannot be served; the text names the item, the rule, and what to mend."""


IN_DAYS = (Limit.UNIT_WORKING_DAY, Limit.UNIT_NATURAL_DAY)
COUNTED = "only WORKING_DAY and NATURAL_DAY are counted"
"""By servers.law.clock: no paper could name the last day of another limit."""

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
    for name, limit in (("legal", item.legal_limit), ("promised", item.promised_limit)):
        if limit.unit not in IN_DAYS:
            yield f"its {name} limit is in {_unit(limit)}: {COUNTED}"
    yield from _faults_of_rules(item, serves)


def _faults_of_rules(item: ServiceItem, serves: Serves) -> Iterator[str]:
    for rule in item.tier_rules:
        fault = fault_of(rule.when, item.form)
        if fault:
            yield f"tier rule: {fault}"
        if not serves(item.lead_department, rule.tier):
            yield f"tier rule: no {item.lead_department} sits at {Tier.Name(rule.tier)}"
    if len({collaborator.id for collaborator in item.collaborators}) != len(item.collaborators):
        yield "two collaborators have the same id"
    for collaborator in item.collaborators:
        for fault in _faults_of_collaborator(item, collaborator, serves):
            yield f"collaborator {collaborator.id}: {fault}"


def _faults_of_collaborator(item: ServiceItem, collaborator: Collaborator, serves: Serves) -> Iterator[str]:
    lead_tiers = {item.default_tier, *(rule.tier for rule in item.tier_rules)}
    tiers = {collaborator.tier} if collaborator.tier else lead_tiers
    if collaborator.department == item.lead_department and tiers & lead_tiers:
        yield "it resolves to the lead itself"
    for tier in sorted(tiers):
        if not serves(collaborator.department, tier):
            yield f"no {collaborator.department} sits at {Tier.Name(tier)}"
    yield from _faults_of_silence(collaborator)
    if collaborator.reply_limit.unit not in IN_DAYS:
        yield f"its reply limit is in {_unit(collaborator.reply_limit)}: {COUNTED}"
    if not _shortest(item.promised_limit) > _longest(collaborator.reply_limit):
        yield "its reply limit is not below the item's promise"
    yield from _faults_of_disclosure(item, collaborator)
    fault = fault_of(collaborator.when, item.form)
    if fault:
        yield fault


def _faults_of_silence(collaborator: Collaborator) -> Iterator[str]:
    if is_required(collaborator) and not collaborator.basis:
        yield "silence cannot block a case without a law that demands the answer: basis is empty"
    if collaborator.silence_policy == SILENCE_POLICY_DEEMED_AGREED:
        if not collaborator.silence_basis:
            yield "silence cannot be agreement without a document that says so: silence_basis is empty"
        if collaborator.kind in (COLLABORATION_KIND_CO_APPROVAL, COLLABORATION_KIND_VERIFICATION):
            yield "silence is never agreement in a co-approval or a verification"


def _faults_of_disclosure(item: ServiceItem, collaborator: Collaborator) -> Iterator[str]:
    """An organ of state hands personal data on within its statutory powers only (个人信息保护法 art. 34)."""
    named = set(collaborator.discloses)
    unknown = named - {field.name for field in item.form} - APPLICANT.keys()
    if unknown:
        yield f"it discloses {_listed(unknown)}: neither a field of the form nor one of {_listed(APPLICANT)}"
    personal = named & ({field.name for field in item.form if field.personal} | APPLICANT.keys())
    if personal and not collaborator.basis:
        yield f"it discloses {_listed(personal)}, which is personal, without a law: basis is empty"


def _unit(limit: Limit) -> str:
    return Limit.Unit.Name(limit.unit).removeprefix("UNIT_")


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


# Limits in different units are compared at their worst: five working days are at least five days, and a week at most.
def _shortest(limit: Limit) -> float:
    return float(limit.value)


def _longest(limit: Limit) -> float:
    weekend = 2 if limit.unit == Limit.UNIT_WORKING_DAY else 0
    return float(limit.value) if limit.value < 1 else limit.value + weekend * ((limit.value - 1) // 5)
