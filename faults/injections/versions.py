"""Replicas run from the next version's source, beside those of this one: on the same database, and across the mesh."""

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from faults.injections.replicas import READY_SECONDS
from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.mesh import SUBSYSTEMS
from faults.meshes.replicas import ReplicatedMesh
from faults.versions import BY_INTAKE, BY_LEAD, FIELD

SOURCES, NEXT = "sources", "next"
"""In the scene's folder: a link for each replica to the source it is started from, and the next version's."""
REPLICAS = 2
"""Of each subsystem."""
STREAMS = {"intake": "application", "governance": "case", "department": "organ_case"}
SAID = {"intake": "ApplicationRemarked", "department": "StepRemarked"}
"""What the next version of each says more."""
ENOUGH = 20
"""Cases on which each version has worked, and facts of a new type, that must be there before it goes on."""
SECONDS = 90.0
"""Within which what is waited for must be there."""


def mixed(name: str) -> Injection:
    """One of its replicas ends, and is started from the next version's source; both work on the same cases."""

    async def inject(stage: Stage) -> None:
        await _upgrade(stage, name, 1)
        newest, worked_on = _newest_case(stage, name), defaultdict[int, set[str]](set)
        both_work = partial(_both_work, stage, name, newest, worked_on)
        await until(both_work, SECONDS, f"two versions of {name} work on new cases")
        if name in SAID:
            await _said(stage, name)

    return inject


def upgraded(name: str) -> Injection:
    """Its other replica follows; what it says more has reached the others, and takes effect, as it should."""

    async def inject(stage: Stage) -> None:
        await _upgrade(stage, name, REPLICAS)
        following = (stage.folder / NEXT).resolve()
        upgraded_ones = [each for each in SUBSYSTEMS if _source(stage.folder, each) == following]
        await _seen(stage, upgraded_ones)
        _check_raw(stage, upgraded_ones)

    return inject


async def _upgrade(stage: Stage, name: str, replica: int) -> None:
    """Return when it serves again."""
    mesh = _mesh(stage)
    address, pid = list(mesh.replicas(name).items())[replica - 1]
    link_to(stage.folder, name, replica, stage.folder / NEXT)
    os.kill(pid, signal.SIGTERM)
    async with asyncio.timeout(READY_SECONDS):
        await mesh.serving(name, address, but=pid)


def link_to(folder: Path, name: str, replica: int, source: Path) -> None:
    """Where it is started from the next time."""
    link = link_of(folder, name, replica)
    link.parent.mkdir(exist_ok=True)
    fresh = link.with_suffix(".new")
    os.symlink(source.resolve(), fresh)
    fresh.replace(link)


def link_of(folder: Path, name: str, replica: int) -> Path:
    """Of one process."""
    return folder / SOURCES / f"{name}-{replica}"


def _source(folder: Path, name: str) -> Path:
    """Of the replica that follows last."""
    return Path(os.readlink(link_of(folder, name, REPLICAS)))


def _newest_case(stage: Stage, name: str) -> str:
    """Ids of cases are in the order in which they were submitted."""
    with _mesh(stage).postgresql.connect(f"ronghe_{name}") as connection:
        row = connection.execute(f"SELECT max(case_id) FROM stream_{STREAMS[name]}").fetchone()  # noqa: S608 - ours
    return str(row[0]) if row else ""


def _both_work(stage: Stage, name: str, newest: str, worked_on: defaultdict[int, set[str]]) -> bool:
    """Whether each version has worked on enough cases that came after this one.

    `worked_on` has them by version, and gets more: a case shows only who has worked on it last.
    """
    with _mesh(stage).postgresql.connect(f"ronghe_{name}") as connection:
        rows = connection.execute(
            f"SELECT fold_version, case_id FROM stream_{STREAMS[name]} WHERE case_id > %s",  # noqa: S608 - ours
            (newest,),
        ).fetchall()
    for version, case_id in rows:
        worked_on[version].add(case_id)
    return len(worked_on) > 1 and all(len(cases) >= ENOUGH for cases in worked_on.values())


async def _said(stage: Stage, name: str) -> None:
    """Enough of the new facts, and everybody has them, whether he knows them or not."""
    kind = SAID[name]
    await until(partial(_are_there, stage, name, kind), SECONDS, f"{name} does not say {kind}")
    for other in SUBSYSTEMS:
        if other != name and not (kind == SAID["department"] and other == "intake"):
            await until(partial(_are_there, stage, other, kind), SECONDS, f"{kind} does not reach {other}")


async def _seen(stage: Stage, names: Iterable[str]) -> None:
    """What was taken in before it was known has its effect in those that know it now."""
    for name in names:
        for kind, text in ((SAID["intake"], BY_INTAKE), (SAID["department"], BY_LEAD)):
            took_effect = partial(_took_effect, stage, name, text, _facts(stage, name, kind))
            await until(took_effect, SECONDS, f"{kind} has no effect at {name}")


def _check_raw(stage: Stage, upgraded_ones: Iterable[str]) -> None:
    """Who does not know a type keeps its facts, without an effect; a field that he does not know he keeps as well."""
    for name in set(SUBSYSTEMS) - set(upgraded_ones):
        if _views_with(stage, name, BY_INTAKE) or _views_with(stage, name, BY_LEAD):
            raise NotInjected(f"{name} is not of the version that it should be")
        with_field = _count(stage, name, "journal", "type LIKE '%%.Submitted' AND position(%s in body) > 0", FIELD)
        if _views_with(stage, name, FIELD) < with_field:
            raise NotInjected(
                f"{name} has {with_field} applications with a field that it does not know, not all in views"
            )


def _are_there(stage: Stage, name: str, kind: str) -> bool:
    return _facts(stage, name, kind) >= ENOUGH


def _took_effect(stage: Stage, name: str, text: str, least: int) -> bool:
    return _views_with(stage, name, text) >= least


def _facts(stage: Stage, name: str, kind: str) -> int:
    return _count(stage, name, "journal", "convert_to(type, 'UTF8') = %s", f"ronghe.event.v1.{kind}")


def _views_with(stage: Stage, name: str, text: str) -> int:
    return _count(stage, name, f"stream_{STREAMS[name]}", "position(%s in snapshot) > 0", text)


def _count(stage: Stage, name: str, table: str, condition: str, text: str) -> int:
    with _mesh(stage).postgresql.connect(f"ronghe_{name}") as connection:
        statement = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608 - ours
        row = connection.execute(statement, (text.encode(),)).fetchone()
    return int(row[0]) if row else 0


def _mesh(stage: Stage) -> ReplicatedMesh:
    assert isinstance(stage.mesh, ReplicatedMesh)  # noqa: S101 - of the scene
    return stage.mesh
