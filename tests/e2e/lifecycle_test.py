import asyncio
import socket
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from clients.demo.plan import Desk
from clients.errors import RongheError
from clients.intake import IntakeClient
from ronghe.case.v1 import case_pb2
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest
from tests.e2e.drive import (
    SUBSYSTEMS,
    TERMINAL,
    Counter,
    Mesh,
    assert_journals_are_whole,
    counter,
    running_mesh,
    spawn,
)

CASES = 12


async def test_a_mesh_that_is_stopped_at_work_goes_on_where_it_was(tmp_path: Path, desks: Sequence[Desk]) -> None:
    with running_mesh(tmp_path) as first:
        async with counter(first, desks[0]) as here:
            requests = [here.application() for _ in range(3 * CASES)]
            answered, status = await _stop_at_work(here, requests)
    assert status == (0, "")
    assert len(answered) >= CASES

    with running_mesh(tmp_path) as second:
        async with counter(second, desks[0]) as here:
            for request in requests:
                voucher = await here.terminal.submit_application(request)
                assert answered.setdefault(request.request_id, voucher.case_id) == voucher.case_id
            await asyncio.gather(*(_finish(here, case_id) for case_id in answered.values()))
        for case_id in answered.values():
            for name in SUBSYSTEMS:
                assert sorted(second.recorded(name, case_id)) == ["Accepted", "Closed", "Decided", "Submitted"]
        for name in SUBSYSTEMS:
            cases = "SELECT count(DISTINCT case_id) FROM journal WHERE stream NOT LIKE 'journal/%'"
            assert second.rows(name, cases) == [(3 * CASES,)]
        await assert_journals_are_whole(second)


async def _stop_at_work(
    here: Counter, requests: Sequence[SubmitApplicationRequest]
) -> tuple[dict[str, str], tuple[int, str]]:
    """Submit one after another, accept every second case; stop the mesh in the middle. Cases by request id."""
    answered: dict[str, str] = {}
    half = asyncio.Event()

    async def work() -> None:
        async with IntakeClient(here.mesh.addresses["intake"], here.mesh.pki, TERMINAL) as terminal:
            for request in requests:
                answered[request.request_id] = case_id = (await terminal.submit_application(request)).case_id
                if len(answered) % 2:
                    await here.delivered(case_id)
                    await here.accept(case_id)
                if len(answered) == CASES:
                    half.set()

    working = asyncio.create_task(work())
    await half.wait()
    status, _, errors = await asyncio.to_thread(here.mesh.stop)
    working.cancel()
    (ended,) = await asyncio.gather(working, return_exceptions=True)
    assert ended is None or isinstance(ended, RongheError | asyncio.CancelledError)
    return answered, (status, errors)


async def _finish(here: Counter, case_id: str) -> None:
    """Whether it was accepted before or not."""
    await here.delivered(case_id)
    if "Accepted" not in here.mesh.recorded("department", case_id):
        await here.accept(case_id)
    await here.deny(case_id)
    await here.at_intake(case_id, case_pb2.STATE_CLOSED)


def test_a_second_mesh_on_the_same_directory_says_why_it_does_not_start(mesh: Mesh) -> None:
    assert (
        _refusal(mesh.data) == f"a mesh runs on {mesh.data} already: stop it, or name another directory with --data\n"
    )
    assert (mesh.data / "run" / "endpoints.json").exists()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        said = _refusal(tmp_path, port - 1)

    assert said == f"port {port} is taken: free it, or choose other ports with --port-base\n"


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("sampling_rate = 1\n")

    said = _refusal(tmp_path)

    assert "sampling_rate" in said
    assert said.count("\n") == 1


def _refusal(data: Path, port_base: int = 0) -> str:
    """What a mesh says that does not start."""
    process = spawn(data, port_base)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (1, "")
    return errors
