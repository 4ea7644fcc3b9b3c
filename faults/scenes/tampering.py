"""Somebody who writes a journal's database behind its back."""

from collections.abc import Sequence
from random import Random

from faults.injections.stage import Fault, Scene
from faults.injections.tampering import (
    Plan,
    body_altered,
    case_removed,
    chained_anew,
    computed_anew,
    row_altered,
    row_inserted,
    row_moved,
    row_removed,
    tail_removed,
    tampered,
    untouched,
)
from faults.mesh import SUBSYSTEMS
from faults.meshes.evidence import evidence

BY_HAND: Sequence[tuple[str, Plan]] = (
    ("a row altered", row_altered),
    ("a row's body altered", body_altered),
    ("a row removed", row_removed),
    ("a row inserted", row_inserted),
    ("a row moved", row_moved),
)
ANEW: Sequence[tuple[str, Plan]] = (
    ("the tail removed with its head", tail_removed),
    ("a case removed, all chained anew", case_removed),
    ("a row altered, all chained anew", chained_anew),
)


def schedule(quick: bool, chance: Random) -> Sequence[Fault]:
    """In the full campaign only: it needs a mesh of its own. One subsystem after another: each is copied once."""
    if quick:
        return []
    faults = []
    for name in chance.sample(SUBSYSTEMS, len(SUBSYSTEMS)):
        faults += [Fault(f"journal of {name}: {what}", tampered(name, plan)) for what, plan in BY_HAND]
        faults += [Fault(f"journal of {name}: {what}", computed_anew(name, plan)) for what, plan in ANEW]
    return [*faults, Fault("journals untouched", untouched)]


SCENE = Scene("tampering", evidence, schedule, rate=3.0)
