"""All scenes, in the order in which they are played."""

from faults.scenes import fuzz, single

SCENES = (single.SCENE,)
"""The campaign."""
OTHERS = (fuzz.SCENE,)
"""Played when they are asked for by name."""
