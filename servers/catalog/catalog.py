"""The catalog: loaded once, checked whole, then only read."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict
from google.type.date_pb2 import Date

from ronghe.case.v1.case_pb2 import Application
from ronghe.catalog.v1.catalog_pb2 import (
    COLLABORATION_KIND_OVERSIGHT,
    Center,
    Collaborator,
    Division,
    Organ,
    ServiceItem,
    Tier,
)
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.party.v1.party_pb2 import FormValue
from servers.catalog.centers import make_centers
from servers.catalog.conditions import context_of, holds
from servers.catalog.forms import missing_values, wrong_values
from servers.catalog.organs import Department, make_organs
from servers.catalog.validation import CatalogError, faults_of
from servers.kernel.stream import FieldViolation, Refused

DATA = Path(__file__).parent / "data"
DEPLOYMENT = "department-01"


class Catalog:
    """Items, divisions and organs. Its refusals are those of the contract."""

    def __init__(
        self, items: Sequence[ServiceItem], divisions: Sequence[Division], departments: Sequence[Department]
    ) -> None:
        """Raises CatalogError with everything that is wrong."""
        self.divisions: Mapping[str, Division] = {division.code: division for division in divisions}
        self.organs: Mapping[str, Organ] = make_organs(departments, divisions, DEPLOYMENT)
        self.centers: Mapping[str, Center] = make_centers(divisions)
        self._organs_at: dict[tuple[str, Tier.ValueType, str], list[Organ]] = defaultdict(list)
        for organ in self.organs.values():
            for division in (organ.division, *organ.serves):
                self._organs_at[organ.department, organ.tier, division].append(organ)
        self._versions: dict[str, list[ServiceItem]] = defaultdict(list)
        for item in sorted(items, key=lambda item: item.version):
            self._versions[item.code].append(item)
        self._carried = {(item.code, item.version): _carried(item) for item in items}
        tiers = {department.id: department.tiers for department in departments}
        faults = [
            f"{item.code} version {item.version}: {fault}"
            for item in items
            for fault in faults_of(item, lambda department, tier: tier in tiers.get(department, ()))
        ]
        if faults:
            raise CatalogError("; ".join(faults))

    @classmethod
    def load(cls, folder: Path = DATA) -> "Catalog":
        """The catalog in a folder: items.json, divisions.json, departments.json."""
        items = [ParseDict(entry, ServiceItem()) for entry in _read(folder / "items.json")]
        divisions = [ParseDict(entry, Division()) for entry in _read(folder / "divisions.json")]
        departments = [
            Department(entry["id"], entry["name"], [Tier.Value(tier) for tier in entry["tiers"]])
            for entry in _read(folder / "departments.json")
        ]
        return cls(items, divisions, departments)

    # --- items ---

    def items_in_force(self, on: Date) -> Sequence[ServiceItem]:
        """The versions in force on a day, by code."""
        found = [self._in_force(versions, on) for _, versions in sorted(self._versions.items())]
        return [item for item in found if item is not None]

    def item(self, code: str, on: Date) -> ServiceItem:
        """The version of an item in force on a day. Raises Refused: ITEM_NOT_FOUND, ITEM_NOT_IN_FORCE."""
        item = self._in_force(self._versions_of(code), on)
        if item is None:
            raise Refused(
                Reason.REASON_ITEM_NOT_IN_FORCE,
                f"{code} is not offered on {_day(on)}: see ListServiceItems",
                {"item_code": code},
            )
        return item

    def item_version(self, code: str, version: int) -> ServiceItem:
        """One version of an item. Raises Refused: ITEM_NOT_FOUND."""
        for item in self._versions_of(code):
            if item.version == version:
                return item
        raise Refused(Reason.REASON_ITEM_NOT_FOUND, f"{code} has no version {version}: see ListServiceItems")

    def _versions_of(self, code: str) -> Sequence[ServiceItem]:
        if code not in self._versions:
            raise Refused(Reason.REASON_ITEM_NOT_FOUND, f"there is no item {code}: see ListServiceItems")
        return self._versions[code]

    def _in_force(self, versions: Sequence[ServiceItem], on: Date) -> ServiceItem | None:
        """The newest version that is: a later one takes over on its first day."""
        in_force = [item for item in versions if _covers(item.effective_from, item, "effective_to", on)]
        return in_force[-1] if in_force else None

    def carried(self, item: ServiceItem) -> ServiceItem:
        """The item as a case carries it: without what only matters before the application is received."""
        return self._carried[item.code, item.version]

    # --- divisions and organs ---

    def division(self, code: str) -> Division:
        """Raises Refused: DIVISION_NOT_FOUND."""
        division = self.divisions.get(code)
        if division is None:
            raise Refused(Reason.REASON_DIVISION_NOT_FOUND, f"there is no division {code}: see ListDivisions")
        return division

    def ancestors(self, code: str) -> Sequence[Division]:
        """The division and those above it, up to the city. The parent is data: never read it from the digits."""
        found = [self.division(code)]
        while found[-1].parent:
            found.append(self.division(found[-1].parent))
        return found

    def center(self, center_id: str, on: Date | None = None) -> Center:
        """Where a day is given, one that exists then. Raises Refused: CENTER_NOT_FOUND."""
        if center_id not in self.centers or not _exists(self.centers[center_id], on):
            raise Refused(Reason.REASON_CENTER_NOT_FOUND, f"there is no center {center_id}: see ListCenters")
        return self.centers[center_id]

    def organ(self, organ_id: str, on: Date | None = None) -> Organ:
        """Where a day is given, one that exists then. Raises Refused: ORGAN_NOT_FOUND."""
        if organ_id not in self.organs or not _exists(self.organs[organ_id], on):
            raise Refused(Reason.REASON_ORGAN_NOT_FOUND, f"there is no organ {organ_id}: see ListOrgans")
        return self.organs[organ_id]

    def is_organ(self, organ_id: str, on: Date) -> bool:
        """Whether there is an organ of this id on a day: it may have been abolished, or not be there yet."""
        return organ_id in self.organs and _exists(self.organs[organ_id], on)

    def resolve(self, department: str, division: str, tier: "Tier.ValueType", on: Date | None = None) -> Organ:
        """The one organ of a department type that serves a division from a tier.

        Raises Refused: DIVISION_NOT_FOUND, ORGAN_NOT_RESOLVED with the organs that came near.
        """
        found = [
            organ
            for above in self.ancestors(division)
            for organ in self._organs_at.get((department, tier, above.code), ())
            if _exists(organ, on)
        ]
        if len(found) != 1:
            raise self._not_resolved(department, division, tier, found)
        return found[0]

    def _not_resolved(self, department: str, division: str, tier: "Tier.ValueType", found: Sequence[Organ]) -> Refused:
        names = ", ".join(organ.id for organ in found)
        tier_name = Tier.Name(tier).removeprefix("TIER_")
        problem = f"several organs do: {names}" if found else "no organ does; name a division that lies lower or higher"
        return Refused(
            Reason.REASON_ORGAN_NOT_RESOLVED,
            f"exactly one {department} must serve {division} at the {tier_name} tier: {problem}",
            {"department": department, "division": division, "tier": tier_name, "organs": names},
        )

    def lead(self, item: ServiceItem, division: str, form: Iterable[FormValue], on: Date | None = None) -> Organ:
        """The organ that leads an application of this item, handled there, with this form."""
        context = context_of(item.form, form, division, item.default_tier)
        tier = next((rule.tier for rule in item.tier_rules if holds(rule.when, context)), item.default_tier)
        return self.resolve(item.lead_department, division, tier, on)

    # --- rules about an application ---

    def check_form(self, item: ServiceItem, values: Sequence[FormValue], personal: Sequence[FormValue]) -> None:
        """Raises Refused: INVALID_FORM with every field that is wrong or missing."""
        _refuse(
            [
                *wrong_values(item.form, values, personal=False),
                *wrong_values(item.form, personal, personal=True),
                *missing_values(item.form, values, personal),
            ]
        )

    def check_values(self, item: ServiceItem, values: Sequence[FormValue], *, personal: bool = False) -> None:
        """Values that change some fields of a form. Raises Refused: INVALID_FORM."""
        _refuse(list(wrong_values(item.form, values, personal=personal)))

    def firing_rules(self, application: Application) -> Sequence[Collaborator]:
        """The item's rules that say, for this form and place, whom to ask before the decision.

        Of a case, the application is to be the one as it stands (`servers/case/form.py`), not as it was handed in.
        """
        context = context_of(application.item.form, application.form, application.division, application.lead.tier)
        return [
            rule
            for rule in application.item.collaborators
            if rule.kind != COLLABORATION_KIND_OVERSIGHT and holds(rule.when, context)
        ]


def _carried(item: ServiceItem) -> ServiceItem:
    carried = ServiceItem()
    carried.CopyFrom(item)
    carried.ClearField("tier_rules")
    carried.ClearField("applicant_types")
    for rule in carried.collaborators:
        rule.when.ClearField("true_example")
        rule.when.ClearField("false_example")
    return carried


def _read(path: Path) -> list[Any]:
    entries: list[Any] = json.loads(path.read_text())
    return entries


def _refuse(violations: Sequence[FieldViolation]) -> None:
    if violations:
        raise Refused(Reason.REASON_INVALID_FORM, violations[0].description, violations=violations)


def _exists(body: Organ | Center, on: Date | None) -> bool:
    return on is None or _covers(body.valid_from, body, "valid_to", on)


def _covers(first: Date, holder: ServiceItem | Organ | Center, last_name: str, on: Date) -> bool:
    """Whether a day lies between two dates of a message; no date, no bound."""
    last: Date = getattr(holder, last_name)
    if first.year and _day(on) < _day(first):
        return False
    return not (last.year and _day(on) > _day(last))


def _day(day: Date) -> date:
    return date(day.year, day.month, day.day)
