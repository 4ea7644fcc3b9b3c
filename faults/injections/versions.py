"""A subsystem is run from the next version's source, beside others of this one."""

import os
import signal
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path

from faults.injections.days import opened, status_of
from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.mesh import SUBSYSTEMS
from faults.versions import BY_INTAKE, BY_LEAD, FIELD

SOURCES, NEXT = "sources", "next"
"""In the scene's folder: a link for each subsystem to the source it is started from, and the next version's."""
STREAMS = {"intake": "application", "governance": "case", "department": "organ_case"}
SAID = {"intake": "ApplicationRemarked", "department": "StepRemarked"}
"""What the next version of each says more."""
ENOUGH = 20
"""Facts of a new type that must be there before it goes on."""
SECONDS = 90.0
"""Within which what is waited for must be there."""


def upgraded(name: str) -> Injection:
    """It ends, and is started from the next version's source; what it says more reaches the others as it should."""

    async def inject(stage: Stage) -> None:
        await stage.mesh.running(name)
        link_to(stage.folder, name, stage.folder / NEXT)
        pid = stage.mesh.signal(name, signal.SIGTERM)
        await stage.mesh.running(name, but=pid)
        await status_of(stage.mesh, name)
        following = (stage.folder / NEXT).resolve()
        upgraded_ones = [each for each in SUBSYSTEMS if _source(stage.folder, each) == following]
        if name in SAID:
            await _said(stage, name)
        await _seen(stage, upgraded_ones)
        _check_raw(stage, upgraded_ones)

    return inject


def link_to(folder: Path, name: str, source: Path) -> None:
    """Where a subsystem is started from the next time."""
    link = folder / SOURCES / name
    link.parent.mkdir(exist_ok=True)
    fresh = link.with_suffix(".new")
    os.symlink(source.resolve(), fresh)
    fresh.replace(link)


def _source(folder: Path, name: str) -> Path:
    return Path(os.readlink(folder / SOURCES / name))


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
        with_field = _count(stage, name, "journal", "type LIKE '%.Submitted' AND instr(body, ?)", FIELD.encode())
        if _views_with(stage, name, FIELD) < with_field:
            raise NotInjected(
                f"{name} has {with_field} applications with a field that it does not know, not all in views"
            )


def _are_there(stage: Stage, name: str, kind: str) -> bool:
    return _facts(stage, name, kind) >= ENOUGH


def _took_effect(stage: Stage, name: str, text: str, least: int) -> bool:
    return _views_with(stage, name, text) >= least


def _facts(stage: Stage, name: str, kind: str) -> int:
    return _count(stage, name, "journal", "type = ?", f"ronghe.event.v1.{kind}")


def _views_with(stage: Stage, name: str, text: str) -> int:
    return _count(stage, name, f"stream_{STREAMS[name]}", "instr(snapshot, ?)", text.encode())


def _count(stage: Stage, name: str, table: str, condition: str, value: str | bytes) -> int:
    with closing(opened(stage.mesh.database(name))) as connection:
        statement = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608 - ours
        return int(connection.execute(statement, (value,)).fetchone()[0])
