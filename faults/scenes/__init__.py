"""All scenes, in the order in which they are played."""

from faults.scenes import single

SCENES = (single.SCENE,)
