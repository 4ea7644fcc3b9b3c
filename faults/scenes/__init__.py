"""All scenes, in the order in which they are played."""

from faults.scenes import fuzz, single, soak

SCENES = (single.SCENE,)
"""The campaign."""
OTHERS = (fuzz.SCENE, soak.SCENE)
"""Played when they are asked for by name."""
