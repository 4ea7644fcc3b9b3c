"""Processes that die: where they must not, and where they must."""

from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from faults.injections.overload import _judge
from faults.injections.processes import killed, nobody_dies, stopped
from faults.injections.stage import Injection, NotInjected, Stage
from faults.mesh import PROCESSES


class Mesh:
    """Processes by their pids."""

    def __init__(self) -> None:
        self.pids = {name: number for number, name in enumerate(PROCESSES, 100)}

    def pid(self, name: str) -> int:
        return self.pids[name]

    async def running(self, name: str, *, but: int = 0) -> None:
        pass

    def signal(self, name: str, number: int) -> int:
        return self.pids[name]


def stage_of(mesh: Any) -> Stage:
    return Stage(mesh, Path(), Random(1), {}, SimpleNamespace())  # type: ignore[arg-type]


def test_a_process_that_dies_and_comes_back_is_named() -> None:
    mesh = Mesh()
    with nobody_dies(stage_of(mesh)):
        pass
    with pytest.raises(NotInjected, match="through it: department"), nobody_dies(stage_of(mesh)):
        mesh.pids["department"] = 7


def outcome(**fields: Any) -> dict[str, Any]:
    return {"offered": 10, "accepted": 4, "refused": 6, "others": {}, **fields}


@pytest.mark.parametrize("way", ["unary", "bulk"])
def test_what_was_offered_and_not_answered_is_told(way: str) -> None:
    stage = stage_of(Mesh())
    stage.figures = {f"{name} grew by MiB": 0.0 for name in PROCESSES}
    _judge(stage, {way: outcome()}, back=1.0)
    with pytest.raises(NotInjected, match=f"10 {way} offered, 9 answered"):
        _judge(stage, {way: outcome(accepted=3)}, back=1.0)


@pytest.mark.parametrize("injection", [killed("intake"), stopped("intake", 0.0)], ids=["killed", "stopped"])
async def test_who_is_not_there_was_not_broken(injection: Injection) -> None:
    mesh = Mesh()
    await injection(stage_of(mesh))
    mesh.pids["intake"] = 0
    with pytest.raises(NotInjected, match="intake had ended"):
        await injection(stage_of(mesh))
