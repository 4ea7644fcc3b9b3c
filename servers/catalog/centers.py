"""The governance centers (治理中心): one for each division, of the division's tier."""

from collections.abc import Iterable, Mapping

from ronghe.catalog.v1.catalog_pb2 import Center, Division, Tier

NAMES = {
    Tier.TIER_MUNICIPAL: "城市运行和治理中心",
    Tier.TIER_DISTRICT: "城市运行和治理中心",
    Tier.TIER_TOWN: "基层治理指挥中心",
}


def make_centers(divisions: Iterable[Division]) -> Mapping[str, Center]:
    """The centers by their ids, which are the codes of their divisions."""
    return {division.code: _center(division) for division in divisions}


def _center(division: Division) -> Center:
    return Center(
        id=division.code,
        name=division.name + NAMES[division.tier],
        tier=division.tier,
        division=division.code,
        parent=division.parent,
        valid_from=division.valid_from if division.HasField("valid_from") else None,
        valid_to=division.valid_to if division.HasField("valid_to") else None,
    )
