"""Processes that die: where they must not, and where they must."""

import asyncio
import signal
import socket
import time
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from faults.checker import connected
from faults.checker.connected import KILLED
from faults.checker.history import History
from faults.injections.overload import _judge
from faults.injections.processes import crashed, killed, mesh_killed, nobody_dies, scattered, stopped
from faults.injections.stage import Injection, NotInjected, Stage
from faults.mesh import PROCESSES, SUBSYSTEMS
from faults.mesh import Mesh as RealMesh
from faults.scenes import kafka


class Mesh:
    """Processes by their pids."""

    data = Path()

    def __init__(self) -> None:
        self.pids = {name: number for number, name in enumerate(PROCESSES, 100)}
        self.starting: set[str] = set()
        self.happened: list[str] = []

    def pid(self, name: str) -> int:
        return self.pids[name]

    async def running(self, name: str, *, but: int = 0) -> None:
        pass

    async def serves(self, name: str, within: float) -> bool:
        self.happened.append(f"{name} is given {within:.0f} s")
        return name not in self.starting

    def kill(self) -> None:
        self.happened.append("all die")

    async def start(self) -> None:
        self.happened.append("all start")

    def signal(self, name: str, number: int) -> int:
        self.happened.append(f"{name} gets {signal.Signals(number).name}")
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


async def test_who_is_killed_is_given_the_time_to_serve_before() -> None:
    mesh = Mesh()
    stage = stage_of(mesh)
    await killed("intake")(stage)
    assert mesh.happened == ["intake is given 20 s", "intake gets SIGKILL"]
    mesh.starting = {"kafka"}
    await killed("kafka")(stage)
    assert stage.figures == {"killed": 2, "killed while serving": 1}


async def test_who_is_killed_to_start_with_a_crash_point_is_counted_apart(tmp_path: Path) -> None:
    stage = replace(stage_of(Mesh()), crashes=tmp_path)
    (tmp_path / "intake-01.passed").touch()
    await crashed("before-commit", "intake")(stage)
    assert stage.figures == {"killed to start with a crash point": 1}


async def test_a_mesh_that_is_killed_has_its_deaths_noted(tmp_path: Path) -> None:
    mesh, killed_at = Mesh(), time.time()
    mesh.data = tmp_path
    (tmp_path / KILLED).parent.mkdir()
    await mesh_killed(stage_of(mesh))
    history = History([], {}, [], [], files={KILLED: (tmp_path / KILLED).read_bytes()})
    deaths = connected._deaths(history)
    assert set(deaths) == set(SUBSYSTEMS)
    assert all(killed_at <= at <= time.time() for (at,) in deaths.values())
    assert mesh.happened == ["all die", "all start"]


async def test_a_process_serves_once_its_port_accepts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        mesh = RealMesh(Path(), 0, addresses={"kafka": f"127.0.0.1:{taken.getsockname()[1]}"})
        assert not await mesh.serves("kafka", 0.1)
        begins = asyncio.get_running_loop().call_later(0.2, taken.listen)
        assert await mesh.serves("kafka", 10.0)
        assert begins.when() <= asyncio.get_running_loop().time()


async def test_while_kafka_hangs_everybody_is_killed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    victims: list[str] = []

    def noted(name: str) -> Injection:
        async def inject(stage: Stage) -> None:
            victims.append(name)

        return inject

    def hangs(*_: float) -> Injection:
        return noted("kafka")

    monkeypatch.setattr(kafka, "killed", noted)
    monkeypatch.setattr(kafka, "kafka_hangs", hangs)
    kills = 7 * len(SUBSYSTEMS)
    amount = replace(kafka.FULL, hangs=((0.2, kills),))
    hang, *_ = kafka.outages(amount, Random(3))
    injected: Awaitable[None] = hang.injection(stage_of(Mesh()))
    await injected
    killed_ones = [name for name in victims if name != "kafka"]
    assert len(killed_ones) == kills
    for start in range(0, kills, len(SUBSYSTEMS)):
        assert set(killed_ones[start : start + len(SUBSYSTEMS)]) == set(SUBSYSTEMS)


async def test_kills_come_at_moments_of_their_own() -> None:
    at: list[float] = []

    async def noted(_: Stage) -> None:
        at.append(asyncio.get_running_loop().time())

    began = asyncio.get_running_loop().time()
    await scattered(0.5, *[noted] * 10)(stage_of(Mesh()))
    assert at == sorted(at)
    chance = Random(1)  # the stage's
    for each, moment in zip(at, sorted(chance.uniform(0, 0.5) for _ in range(10)), strict=True):
        assert each - began >= moment
