"""All scenes, in the order in which they are played."""

from faults.scenes import clock, cluster, database, fuzz, network, overload, replicas, single, soak, versions

SCENES = (
    single.SCENE,
    cluster.SCENE,
    network.SCENE,
    clock.SCENE,
    versions.SCENE,
    replicas.SCENE,
    database.POSTGRESQL,
    database.SQLITE,
    overload.SCENE,
)
"""The campaign."""
OTHERS = (fuzz.SCENE, soak.SCENE)
"""Played when they are asked for by name."""
