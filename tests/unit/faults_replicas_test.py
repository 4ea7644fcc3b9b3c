"""How replicas are added and removed, on a mesh whose processes are only named."""

import signal
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from faults.injections import replicas
from faults.injections.stage import NotInjected, Stage
from faults.meshes.replicas import ReplicatedMesh

TURNS = 6


@dataclass(eq=False)
class Named(ReplicatedMesh):
    """So many replicas of each subsystem serve."""

    count: int = 2
    added: list[str] = field(default_factory=list)

    async def serving_now(self, name: str) -> Mapping[str, int]:
        return {f"{name}/{number}": number for number in range(1, self.count + 1)}

    def has_more(self, name: str) -> bool:
        return name in self.added

    def add(self, name: str) -> None:
        self.added.append(name)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []

    def signaled(_pid: int, number: int) -> bool:
        found.append(number)
        return True

    monkeypatch.setattr(replicas, "_signal", signaled)
    return found


async def _played(mesh: Named, turns: int) -> Mapping[str, float]:
    stage = Stage(mesh, Path(), Random(7), {}, cast("Any", None))
    await replicas._come_and_go(stage, turns, 0.0, [signal.SIGTERM, signal.SIGKILL])
    return stage.figures


def named(count: int) -> Named:
    return Named(Path(), 0, count=count)


async def test_replicas_are_added_and_removed_in_turn_gently_and_not(sent: list[int]) -> None:
    mesh = named(2)
    assert await _played(mesh, TURNS) == {"replicas added": 3, "replicas removed": 3}
    assert sent == [signal.SIGTERM, signal.SIGKILL, signal.SIGTERM]
    assert sorted(mesh.added) == ["department", "governance", "intake"]


async def test_where_no_more_can_be_added_one_is_removed(sent: list[int]) -> None:
    mesh = named(2)
    mesh.added += ["department", "governance", "intake"]
    assert await _played(mesh, TURNS) == {"replicas removed": TURNS}


async def test_the_last_replica_that_serves_is_left_alone(sent: list[int]) -> None:
    assert (await _played(named(1), TURNS))["replicas removed"] == 0
    assert sent == []


async def test_one_that_stands_still_is_left_to_and_does_not_count_as_one_that_serves(sent: list[int]) -> None:
    mesh = named(2)
    mesh.added += ["department", "governance", "intake"]
    stage = Stage(mesh, Path(), Random(7), {}, cast("Any", None))
    await replicas._come_and_go(stage, TURNS, 0.0, [signal.SIGKILL], but=1)
    assert stage.figures == {"replicas removed": 0}


async def test_one_that_dies_while_it_stands_still_did_not_stand_still() -> None:
    dead = subprocess.Popen(["true"])  # noqa: ASYNC220 - it takes a moment only
    dead.wait()
    stage = Stage(named(2), Path(), Random(7), {}, cast("Any", None))
    with pytest.raises(NotInjected, match="did not live through it"):
        await replicas._paused(dead.pid, 0.0)(stage)


def test_callers_know_where_a_replica_may_be_added() -> None:
    mesh = named(2)
    mesh.addresses = {"intake": "127.0.0.1:1,127.0.0.1:11", "kafka": "127.0.0.1:92"}
    mesh.further = {"intake": "127.0.0.1:21"}
    assert mesh.known() == {"intake": "127.0.0.1:1,127.0.0.1:11,127.0.0.1:21", "kafka": "127.0.0.1:92"}


async def _failing(failure: str, *, crowded: bool) -> Mapping[str, float]:
    caller = SimpleNamespace(failures=Counter({"UNAVAILABLE ": 4}), answered=10)
    stage = Stage(named(2), Path(), Random(7), {}, cast("Any", SimpleNamespace(cast=SimpleNamespace(caller=caller))))
    async with replicas._no_call_fails(stage, "calls", crowded=crowded):
        caller.answered += 5
        caller.failures[failure] += 1
    return stage.figures


@pytest.mark.parametrize(
    ("failure", "crowded"), [("UNAVAILABLE ", True), ("UNAVAILABLE ", False), (replicas.CROWDED, False)]
)
async def test_a_call_that_fails_while_replicas_go_in_good_order_is_told(failure: str, crowded: bool) -> None:
    with pytest.raises(NotInjected, match="1 client calls failed, of 5"):
        await _failing(failure, crowded=crowded)


async def test_who_is_refused_where_starting_processes_crowd_the_machine_is_counted() -> None:
    figures = await _failing(replicas.CROWDED, crowded=True)
    assert figures == {"calls": 5, "of them refused in a crowd": 1}
