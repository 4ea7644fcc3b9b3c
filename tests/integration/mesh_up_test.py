"""`python -m servers.mesh` as a user meets it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from clients.channel import open_channel
from clients.credentials import Credentials
from clients.identity import Identity
from servers.mesh import logs
from tests.ports import free_base

PATIENCE = 90.0
NAMES = {"kafka", "intake", "governance", "department"}

Up = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """Starts meshes, and ends those that still run after the tests."""
    processes: list[subprocess.Popen[str]] = []

    def start(data: Path, *options: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "servers.mesh", "--data", str(data), *options]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="module")
def mesh(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a mesh that runs."""
    data = tmp_path_factory.mktemp("mesh")
    up(data, "--port-base", "0")
    until(lambda: endpoints(data))
    return data


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return found


def endpoints(data: Path) -> dict[str, dict[str, Any]]:
    """Empty while no mesh is ready."""
    try:
        return dict(json.loads((data / "run" / "endpoints.json").read_text()))
    except FileNotFoundError:
        return {}


def is_alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def pids(data: Path) -> set[int]:
    return {entry["pid"] for entry in endpoints(data).values()}


def test_what_keeps_a_mesh_from_starting_is_one_sentence(up: Up, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process = up(tmp_path, "--port-base", str(port - 1))
        output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (1, "")
    assert errors == f"port {port} is taken: free it, or choose other ports with --port-base\n"


def test_a_second_mesh_on_the_same_folder_is_refused_and_the_first_goes_on(up: Up, mesh: Path) -> None:
    first = endpoints(mesh)
    second = up(mesh, "--port-base", "0")
    _, errors = second.communicate(timeout=PATIENCE)
    assert (second.returncode, errors.count("\n")) == (1, 1)
    assert errors.startswith(f"a mesh runs on {mesh} already")
    assert endpoints(mesh) == first
    assert all(is_alive(pid) for pid in pids(mesh))


async def test_the_operator_may_list_the_services(mesh: Path) -> None:
    found = endpoints(mesh)
    assert set(found) == NAMES
    operator = Credentials.load(mesh / "pki", Identity("operator", "local"))
    async with open_channel(found["intake"]["address"], operator) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        answer = await stub.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        ).read()
    assert "ronghe.intake.v1.IntakeService" in {service.name for service in answer.list_services_response.service}


def test_a_subsystem_that_is_killed_runs_again_and_its_new_process_is_announced(mesh: Path) -> None:
    before = endpoints(mesh)
    os.kill(before["department"]["pid"], signal.SIGKILL)
    after = until(lambda: (found := endpoints(mesh)) != before and found)
    assert is_alive(after["department"]["pid"])
    assert {name for name in NAMES if before[name] != after[name]} == {"department"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_after_the_supervisor_is_killed_nothing_runs_and_the_next_start_finds_its_ports_free(
    up: Up, tmp_path: Path
) -> None:
    base = str(free_base())
    first = up(tmp_path, "--port-base", base)
    until(lambda: endpoints(tmp_path) or first.poll() is not None)
    assert first.poll() is None, first.communicate()
    children = pids(tmp_path)
    first.kill()
    first.wait()
    os.truncate(tmp_path / "log" / "kafka.log", logs.MOST_BYTES + 1)
    second = up(tmp_path, "--port-base", base)
    until(lambda: second.poll() is not None or (pids(tmp_path) and not pids(tmp_path) & children))
    assert not any(is_alive(pid) for pid in children)
    until(lambda: (tmp_path / "log" / "kafka.log").stat().st_size < logs.MOST_BYTES)
    assert (tmp_path / "log" / "kafka.log.1").stat().st_size > logs.MOST_BYTES
    second.send_signal(signal.SIGINT)
    output, errors = second.communicate(timeout=PATIENCE)
    assert (second.returncode, errors) == (0, "")
    assert f"-cert {tmp_path}/pki/operator/local.pem" in output
    assert output.endswith("stopping\n")
    assert not endpoints(tmp_path)


def move(source: Path, target: Path, name: str) -> None:
    """As if its volume went away, or came back."""
    target.mkdir(exist_ok=True)
    for path in source.glob(f"{name}.db*"):
        path.rename(target / path.name)


def test_a_database_that_is_gone_is_not_begun_anew_and_heals_by_coming_back(up: Up, tmp_path: Path) -> None:
    data, away = tmp_path / "mesh", tmp_path / "away"
    first = up(data, "--port-base", "0")
    before = until(lambda: endpoints(data))
    log = data / "log" / "mesh.log"
    move(data / "db", away, "department")
    until(lambda: "supervisor.holds_back" in log.read_text())
    assert f"{data}/db/department.db is missing" in log.read_text()
    assert not is_alive(before["department"]["pid"])
    assert all(is_alive(before[name]["pid"]) for name in NAMES - {"department"})
    assert not list((data / "db").glob("department.db"))
    move(away, data / "db", "department")
    after = until(lambda: (found := endpoints(data)) != before and found)
    assert {name for name in NAMES if before[name] != after[name]} == {"department"}
    first.terminate()
    first.communicate(timeout=PATIENCE)
    move(data / "db", away, "intake")
    output, errors = (second := up(data, "--port-base", "0")).communicate(timeout=PATIENCE)
    assert (second.returncode, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith(f"the database of intake is lost: {data}/db/intake.db is missing or empty")
    assert not list((data / "db").glob("intake.db"))


def test_a_mesh_that_is_interrupted_at_its_start_stops_what_it_has_started(up: Up, tmp_path: Path) -> None:
    process = up(tmp_path, "--port-base", "0")
    names = ("kafka", "department")
    until(lambda: all((tmp_path / "log" / f"{name}.log").exists() for name in names))
    started = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output, errors) == (0, "stopping\n", "")
    assert not any(is_alive(pid) for pid in started)


def test_a_second_signal_ends_everything_at_once(up: Up, tmp_path: Path) -> None:
    process = up(tmp_path, "--port-base", "0")
    until(lambda: endpoints(tmp_path))
    children = pids(tmp_path)
    # The stopped child keeps the mesh in its grace.
    os.kill(endpoints(tmp_path)["intake"]["pid"], signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    until(lambda: not endpoints(tmp_path))
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 1
    until(lambda: not any(is_alive(pid) for pid in children))
