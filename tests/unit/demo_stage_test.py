"""Where the demo plays: the lock tells whether a mesh runs; one of the demo's own is told once to stop."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from clients.demo import stage as stages
from clients.demo.stage import StageError, stage
from clients.identity import Identity
from servers.mesh.folder import endpoints_file, is_taken, locked
from servers.mesh.ports import free_ports
from tests.unit.cli_support import ronghe
from tests.unit.rpc_support import Authority

PATIENCE = 30.0


def announce(data: Path, address: str = "127.0.0.1:1") -> None:
    """As a mesh does that is ready."""
    endpoints_file(data).parent.mkdir(exist_ok=True)
    new = endpoints_file(data).with_suffix(".new")
    new.write_text(json.dumps({name: {"address": address, "pid": 1} for name in ("intake", "department")}))
    new.rename(endpoints_file(data))


def while_it_waits(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do it as soon as somebody looks, and finds that he has to wait."""
    sleep = time.sleep

    def act_and_sleep(seconds: float) -> None:
        act()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", act_and_sleep)


@pytest.fixture
def _starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mesh of the demo's own is too many."""
    monkeypatch.setattr(stages, "started", lambda command, endpoints: pytest.fail("another mesh was started"))


@pytest.mark.usefixtures("_starts_none")
def test_a_mesh_that_runs_is_used(tmp_path: Path) -> None:
    with locked(tmp_path):
        announce(tmp_path)
        with stage(tmp_path, None) as here:
            assert here.addresses == {"intake": "127.0.0.1:1", "department": "127.0.0.1:1"}
            assert here.pki == tmp_path / "pki"


@pytest.mark.usefixtures("_starts_none")
def test_a_mesh_that_is_starting_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    while_it_waits(monkeypatch, lambda: announce(tmp_path))
    with locked(tmp_path), stage(tmp_path, None) as here:
        assert here.addresses["intake"] == "127.0.0.1:1"


@pytest.mark.usefixtures("_starts_none")
def test_a_mesh_that_does_not_get_ready_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "START_SECONDS", 0.0)
    with locked(tmp_path), pytest.raises(StageError, match=r"not ready within 0 s: see .*log$"), stage(tmp_path, None):
        pytest.fail("there is no mesh")


@pytest.fixture
def mistaken(tmp_path: Path) -> Path:
    """A data directory on which a mesh ends at once, and says why: so it is known that one was started."""
    (tmp_path / "settings.toml").write_text("port_bas = 1\n")
    return tmp_path


def test_where_a_mesh_was_killed_another_one_is_started(mistaken: Path) -> None:
    """What it announced is still there, and nobody listens at it."""
    announce(mistaken)
    with pytest.raises(StageError, match="port_bas will not do"), stage(mistaken, None):
        pytest.fail("the killed mesh is played on")
    assert not endpoints_file(mistaken).exists()


def test_a_mesh_that_ends_before_it_is_ready_is_followed_by_another(
    mistaken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ExitStack()
    first.enter_context(locked(mistaken))
    while_it_waits(monkeypatch, first.close)
    with first, pytest.raises(StageError, match="port_bas will not do"), stage(mistaken, None):
        pytest.fail("there is no mesh")


def test_a_data_directory_that_cannot_be_used_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = ronghe(tmp_path / "file" / "data", "demo")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "cannot be written" in result.stderr


def test_a_mesh_that_does_not_answer_is_told_in_one_sentence(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    for kind in ("terminal", "intake"):
        authority.issue(Identity(kind, "yukuaiban"))
    with locked(tmp_path):
        (nobody,) = free_ports(1)
        announce(tmp_path, f"127.0.0.1:{nobody}")
        result = ronghe(tmp_path, "demo")
    assert result.exit_code == 1
    assert result.stderr == (
        "UNAVAILABLE: the server does not answer: see whether the mesh is up, and the log of that server\n"
    )


# --- how a mesh of the demo's own ends ---

# What a mesh does with its data directory and its signals, without Kafka and servers: its drain takes a second.
MESH = """
import asyncio, sys
from pathlib import Path
from servers.mesh.folder import endpoints_file, locked
from servers.process import stopped

async def main(data):
    with locked(data):
        stop = asyncio.create_task(stopped())
        await asyncio.sleep(0)
        endpoints_file(data).parent.mkdir()
        endpoints_file(data).write_text("{}")
        await stop
        await asyncio.sleep(1)
        (data / "drained").touch()

asyncio.run(main(Path(sys.argv[1])))
"""
# Not by `signal.pause`: what comes just before it would be waited for in vain. A shell has its background jobs ignore
# SIGINT, and all they start.
DEMO = """
import signal, sys, time
from pathlib import Path
from clients.demo.stage import started

signal.signal(signal.SIGINT, signal.default_int_handler)
data, mesh = Path(sys.argv[1]), sys.argv[2]
with started([sys.executable, "-c", mesh, str(data)], data / "run" / "endpoints.json"):
    print("ready", flush=True)
    while True:
        time.sleep(0.05)
"""


@pytest.fixture
def demo(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Whoever has started a mesh, in a process group of its own, as a shell starts it."""
    command = [sys.executable, "-c", DEMO, str(tmp_path), MESH]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_lets_the_mesh_drain(demo: "subprocess.Popen[str]", tmp_path: Path) -> None:
    """The terminal gives the signal to the whole group; a second one would end the mesh at once."""
    os.killpg(demo.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in demo.communicate(timeout=PATIENCE)[1]
    assert (tmp_path / "drained").exists()
    assert not is_taken(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent (prctl)")
def test_a_mesh_does_not_outlive_a_demo_that_is_killed(demo: "subprocess.Popen[str]", tmp_path: Path) -> None:
    assert is_taken(tmp_path)
    demo.kill()
    end = time.monotonic() + PATIENCE
    while is_taken(tmp_path):
        assert time.monotonic() < end, "the mesh goes on"
        time.sleep(0.05)
    assert not (tmp_path / "drained").exists()
