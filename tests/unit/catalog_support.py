"""The real catalog, as it is and with one thing changed."""

import copy
from collections.abc import Callable

from google.type.date_pb2 import Date

from ronghe.catalog.v1 import catalog_pb2 as pb
from servers.catalog import catalog as catalog_module
from servers.catalog.catalog import DATA, Catalog
from servers.catalog.organs import Department

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


def rule_of(code: str, rule: str) -> pb.Collaborator:
    """One rule of an item, by its name."""
    return next(each for each in CATALOG.item(code, TODAY).collaborators if each.id == rule)
