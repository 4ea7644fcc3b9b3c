"""A database that is lost in the middle of its work."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from faults.injections import loss
from faults.injections.stage import NotInjected, Stage
from ronghe.operations.v1 import operations_service_pb2 as pb

LEARNED = {"own": 1, "foreign": 2, "requests": 3}


class Caller:
    """Holds back nothing."""

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        yield


def stage_of(mesh: Any, tmp_path: Path) -> Stage:
    load: Any = SimpleNamespace(cast=SimpleNamespace(caller=Caller()))
    return Stage(mesh, tmp_path / "crashes", Random(1), {}, load)


@pytest.mark.parametrize("unsent", [0, 22])
async def test_a_database_that_has_sent_everything_was_not_lost_in_the_middle_of_its_work(
    unsent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    @asynccontextmanager
    async def held_back(*_: Any) -> AsyncIterator[None]:
        happened.append("held back")
        yield
        happened.append("carried away again")

    async def lose(*_: Any) -> int:
        happened.append("lost")
        return unsent

    async def put_back(*_: Any) -> None:
        happened.append("put back")

    async def ronghe(*_: Any) -> None:
        happened.append("backed up")

    for name, stub in {"_held_back": held_back, "_lose": lose, "_put_back": put_back, "ronghe": ronghe}.items():
        monkeypatch.setattr(loss, name, stub)
    monkeypatch.setattr(loss, "_relearned", lambda *_: LEARNED)
    monkeypatch.setattr(loss, "WORK_SECONDS", 0.0)
    stage = stage_of(None, tmp_path)
    if unsent:
        await loss.lost("department", drained=False)(stage)
        assert stage.figures["events of department that had not left it"] == unsent
    else:
        with pytest.raises(NotInjected, match="everything had left department"):
            await loss.lost("department", drained=False)(stage)
    assert happened == ["backed up", "held back", "lost", "put back", "carried away again"]


@pytest.mark.parametrize(
    ("name", "paused"),
    [
        ("department", ["relay of department"]),
        ("intake", ["inbox source of governance"]),
        ("governance", ["relay of governance", "inbox source of intake"]),
    ],
)
async def test_nobody_carries_its_words_away_until_it_has_some_that_stand_nowhere_else(
    name: str, paused: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    database = tmp_path / "one.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE journal (position INTEGER, origin TEXT, type TEXT)")
        rows = [(each, f"{name}-01", "ronghe.event.v1.Submitted") for each in range(1, 11)]
        connection.executemany("INSERT INTO journal VALUES (?, ?, ?)", rows)

    async def ordered(stage: Stage, subsystem: str, order: pb.PauseBridgeRequest | pb.ResumeBridgeRequest) -> None:
        pauses = isinstance(order, pb.PauseBridgeRequest)
        bridge = pb.Bridge.Name(order.bridge).removeprefix("BRIDGE_").lower().replace("_", " ")
        happened.append(f"{'pause' if pauses else 'resume'} {bridge} of {subsystem}")

    monkeypatch.setattr(loss, "_ordered", ordered)
    monkeypatch.setattr(loss, "PAUSED_SECONDS", 0.0)
    monkeypatch.setattr(loss, "UNSENT_SECONDS", 0.1)
    head = [5]
    monkeypatch.setattr(loss, "look", lambda *_: SimpleNamespace(head=(head[0], b"")))
    mesh = SimpleNamespace(database=lambda _: database, source=lambda _: database)
    async with loss._held_back(stage_of(mesh, tmp_path), name):
        assert happened == [f"pause {each}" for each in paused]
    assert happened == [*(f"pause {each}" for each in paused), *(f"resume {each}" for each in paused)]
    head[0] = 6
    with pytest.raises(NotInjected, match=f"5 events of {name}: not within"):
        async with loss._held_back(stage_of(mesh, tmp_path), name):
            pass


def test_only_its_own_events_that_are_no_heads_are_said(tmp_path: Path) -> None:
    database = tmp_path / "one.db"
    rows = [
        (1, "department-01", "ronghe.event.v1.Accepted"),
        (2, "department-01", "ronghe.event.v1.Accepted"),
        (3, "department-01", "ronghe.event.v1.JournalHead"),
        (4, "intake-01", "ronghe.event.v1.Submitted"),
    ]
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE journal (position INTEGER, origin TEXT, type TEXT)")
        connection.executemany("INSERT INTO journal VALUES (?, ?, ?)", rows)
    assert loss._said_since(database, "department", 1) == 1
