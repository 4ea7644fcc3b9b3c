"""All scenes, in the order in which they are begun: the longest first, those that are alone after the others."""

from faults.scenes import (
    clock,
    cluster,
    database,
    fuzz,
    network,
    overload,
    replicas,
    restore,
    single,
    soak,
    tampering,
    versions,
)

SCENES = (
    single.SCENE,
    replicas.SCENE,
    network.SCENE,
    cluster.SCENE,
    clock.SCENE,
    database.POSTGRESQL,
    database.SQLITE,
    versions.SCENE,
    restore.SCENE,
    tampering.SCENE,
    overload.SCENE,
)
"""The campaign."""
OTHERS = (fuzz.SCENE, soak.SCENE)
"""Played when they are asked for by name."""
