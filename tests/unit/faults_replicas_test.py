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
ADDED = 1000
"""Pid of the first that is added."""


@dataclass(eq=False)
class Named(ReplicatedMesh):
    """So many replicas of each subsystem serve."""

    count: int = 2
    added: list[str] = field(default_factory=list)
    comes: bool = True
    """Whether those that are added serve."""

    async def serving_now(self, name: str) -> Mapping[str, int]:
        own = {f"{name}/{number}": number for number in range(1, self.count + 1)}
        return {**own, f"{name}/more": ADDED + self.added.index(name)} if self.comes and name in self.added else own

    def has_more(self, name: str) -> bool:
        return name in self.added

    def add(self, name: str) -> int:
        self.added.append(name)
        return ADDED + len(self.added) - 1


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []

    def signaled(_pid: int, number: int) -> bool:
        found.append(number)
        return True

    monkeypatch.setattr(replicas, "_signal", signaled)
    return found


def stage_of(mesh: Named) -> Stage:
    return Stage(mesh, Path(), Random(7), {}, cast("Any", None))


async def _played(mesh: Named, turns: int, but: int = replicas.NOBODY) -> replicas.Traffic:
    traffic = replicas.Traffic()
    await replicas._come_and_go(stage_of(mesh), traffic, turns, 0.0, [signal.SIGTERM, signal.SIGKILL], but=but)
    return traffic


def named(count: int) -> Named:
    return Named(Path(), 0, count=count)


async def test_replicas_are_added_and_removed_in_turn_gently_and_not(sent: list[int]) -> None:
    mesh = named(2)
    traffic = await _played(mesh, TURNS)
    assert (len(traffic.added), traffic.in_vain) == (3, 0)
    assert sent == [signal.SIGTERM, signal.SIGKILL, signal.SIGTERM]
    assert sorted(mesh.added) == ["department", "governance", "intake"]


async def test_where_no_more_can_be_added_one_is_removed(sent: list[int]) -> None:
    mesh = named(2)
    mesh.added += ["department", "governance", "intake"]
    assert (await _played(mesh, TURNS)).added == set()
    assert len(sent) == TURNS


async def test_the_last_replica_that_serves_is_left_alone(sent: list[int]) -> None:
    mesh = named(1)
    mesh.comes = False
    traffic = await _played(mesh, TURNS)
    assert (traffic.removed, traffic.in_vain) == (set(), 3)
    assert sent == []


async def test_one_that_stands_still_is_left_to_and_does_not_count_as_one_that_serves(sent: list[int]) -> None:
    mesh = named(2)
    mesh.added += ["department", "governance", "intake"]
    mesh.comes = False
    traffic = await _played(mesh, TURNS, but=1)
    assert (traffic.removed, traffic.in_vain) == (set(), TURNS)
    assert sent == []


async def test_who_is_added_must_come_to_serve(sent: list[int]) -> None:
    mesh = named(2)
    stage = stage_of(mesh)
    replicas._judge(stage, await _played(mesh, 20 * TURNS))
    assert (stage.figures["replicas added"], stage.figures["of them came to serve"]) == (3, 3)
    assert stage.figures["of them added before"] > 0
    mesh = named(2)
    mesh.comes = False
    with pytest.raises(NotInjected, match="of 3 replicas that were added 0 came to serve"):
        replicas._judge(stage, await _played(mesh, 20 * TURNS))


@pytest.mark.parametrize(
    ("traffic", "why"),
    [
        (replicas.Traffic(), "of 0 replicas"),
        (replicas.Traffic({1, 2, 3}, {1, 4}, {1}), "of 3 replicas that were added 1 came"),
        (replicas.Traffic({1, 2}, {1, 2, 4}, {4}), "no replica that was added was removed"),
        (replicas.Traffic({1, 2}, {1, 2}, {1}, in_vain=2), "1 replicas were removed, 2 times there was none"),
    ],
)
def test_replicas_that_did_not_come_and_go_do_not_count(traffic: replicas.Traffic, why: str) -> None:
    with pytest.raises(NotInjected, match=why):
        replicas._judge(stage_of(named(2)), traffic)


def test_a_renewal_that_starts_somebody_again_is_told() -> None:
    before = {"intake at 127.0.0.1:1": 7, "kafka": 8}
    replicas._all_live(before, dict(before))
    for after in ({**before, "kafka": 9}, {"kafka": 8}):
        with pytest.raises(NotInjected, match="did not live through it"):
            replicas._all_live(before, after)


def test_a_relay_that_was_at_work_beside_another_says_so(tmp_path: Path) -> None:
    log = tmp_path / "governance.log"
    log.write_text('{"name": "relay", "event": "lease.held"}\n{"name": "heads", "event": "lease.lost"}\n')
    assert replicas._left(log) == 0
    with log.open("a") as file:
        file.write('{"name": "relay", "event": "lease.lost", "level": "warning"}\n')
    assert replicas._left(log) == 1


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
