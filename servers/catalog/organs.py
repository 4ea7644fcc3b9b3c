"""The organs: each department type at each tier it has, in each division of that tier."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stdnum.cn import uscc

from ronghe.catalog.v1.catalog_pb2 import Division, Organ, Tier


@dataclass(frozen=True, slots=True)
class Department:
    """A department type."""

    id: str
    name: str
    tiers: Sequence["Tier.ValueType"]


def make_organs(
    departments: Sequence[Department], divisions: Iterable[Division], deployment: str
) -> Mapping[str, Organ]:
    """The organs by their ids; they serve their division and those below it, for as long as the division exists."""
    organs = {}
    for division in divisions:
        for number, department in enumerate(departments, 1):
            if division.tier in department.tiers:
                organ = _organ(department, number, division, deployment)
                organs[organ.id] = organ
    return organs


def _organ(department: Department, number: int, division: Division, deployment: str) -> Organ:
    organ = Organ(
        id=f"{department.id.lower().replace('_', '-')}-{division.code}",
        department=department.id,
        name=f"{division.name}{department.name}",
        credit_code=_credit_code(number, division.code),
        tier=division.tier,
        division=division.code,
        deployment=deployment,
    )
    if division.HasField("valid_to"):
        organ.valid_to.CopyFrom(division.valid_to)
    return organ


def _credit_code(number: int, division: str) -> str:
    """GB 32100: 11 = an organ of state, 6 digits of its district, 9 of our own, and the check digit."""
    stem = f"11{division[:6]}MB{number:02}{division[6:] or '000'}00"
    return stem + uscc.calc_check_digit(stem)
