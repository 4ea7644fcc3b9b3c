"""All scenes, in the order in which they are begun: the longest first, those that are alone after the others."""

from faults.scenes import (
    clock,
    cluster,
    database,
    fuzz,
    kafka,
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
    kafka.SCENE,
    versions.SCENE,
    network.SCENE,
    database.POSTGRESQL,
    restore.SCENE,
    clock.SCENE,
    database.SQLITE,
    tampering.SCENE,
    replicas.SCENE,
    cluster.SCENE,
    overload.SCENE,
)
"""The campaign."""
OTHERS = (fuzz.SCENE, soak.SCENE)
"""Played when they are asked for by name."""
