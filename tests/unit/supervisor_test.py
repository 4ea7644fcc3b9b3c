import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from servers.mesh import supervisor
from servers.mesh.errors import MeshError
from servers.mesh.supervisor import Child, Keeper

PATIENCE = 60.0

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
SAYS_GOODBYE = """
import signal, sys, time
def leave(*_):
    print("goodbye", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""

Keep = Callable[..., Keeper]


@pytest.fixture
async def keep(tmp_path: Path) -> AsyncIterator[Keep]:
    """Makes keepers of children that are ready once they say so, and stops them at the end."""
    keepers: list[Keeper] = []

    def make(code: str, says: str = "up", may_start: Callable[[], None] = lambda: None, **environment: str) -> Keeper:
        path = tmp_path / f"{len(keepers)}.log"

        async def is_ready() -> bool:
            return says in path.read_text()

        command = [sys.executable, "-c", code]
        keepers.append(Keeper(Child("toy", command, environment, path, is_ready, may_start)))
        return keepers[-1]

    yield make
    for keeper in keepers:
        await keeper.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what another process does sets no event
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody has fetched yet runs no more.
    return not Path("/proc").exists() or ") Z " not in Path(f"/proc/{pid}/stat").read_text()


async def test_a_child_gets_its_environment_and_is_running_once_it_says_so(keep: Keep) -> None:
    keeper = keep("import os, time; print('up', os.environ['TOY'], flush=True); time.sleep(60)", TOY="blue")
    assert keeper.pid == 0
    await keeper.start()
    assert is_alive(keeper.pid)
    assert keeper.child.log.read_text() == "up blue\n"


async def test_a_child_is_asked_to_end_and_may_take_its_leave(keep: Keep) -> None:
    keeper = keep(SAYS_GOODBYE)
    await keeper.start()
    await keeper.stop()
    assert keeper.pid == 0
    assert keeper.restarts == 0
    assert keeper.child.log.read_text() == "up\ngoodbye\n"


async def test_a_child_that_does_not_listen_is_killed_after_the_grace(
    keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.2)
    keeper = keep(STUBBORN)
    await keeper.start()
    pid = keeper.pid
    await keeper.stop()
    assert not is_alive(pid)


async def test_a_child_that_is_killed_runs_again_and_is_reported(keep: Keep) -> None:
    keeper, pids = keep(SLEEPS), []
    await keeper.start()
    first = keeper.pid
    keeper.on_restart = lambda: pids.append(keeper.pid)
    os.kill(first, signal.SIGKILL)
    await until(lambda: pids)
    assert first not in pids
    assert is_alive(keeper.pid)
    assert keeper.restarts == 1


async def test_a_child_that_must_not_be_started_now_is_held_back_until_it_may(keep: Keep) -> None:
    problems = iter(["the file is missing", "the file is missing"])

    def may_start() -> None:
        for problem in problems:
            raise MeshError(problem)

    keeper = keep(SLEEPS, may_start=may_start)
    with capture_logs() as logs:
        await keeper.start()
        os.kill(keeper.pid, signal.SIGKILL)
        await until(lambda: keeper.restarts == 1 and keeper.pid)
    held = [line for line in logs if line["event"] == "supervisor.holds_back"]
    assert [(line["problem"], line["seconds"]) for line in held] == [
        ("the file is missing", 1.0),
        ("the file is missing", 2.0),
    ]
    assert is_alive(keeper.pid)


async def test_a_child_whose_restart_cannot_be_reported_is_kept_running_all_the_same(keep: Keep) -> None:
    """On a full disk nobody can write where it runs now."""

    def on_restart() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    keeper = keep(SLEEPS)
    keeper.on_restart = on_restart
    with capture_logs() as logs:
        await keeper.start()
        for restarts in (1, 2):
            os.kill(keeper.pid, signal.SIGKILL)
            await until(lambda: keeper.restarts == restarts and keeper.pid)  # noqa: B023 - it is waited for here
    assert [line["child"] for line in logs if line["event"] == "supervisor.unreported"] == ["toy", "toy"]


@pytest.mark.parametrize(
    "failure", [OSError(errno.EAGAIN, "Resource temporarily unavailable"), RuntimeError("can't start new thread")]
)
async def test_a_child_that_cannot_be_started_now_is_started_later(
    keep: Keep, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """The machine has no process, no memory or no thread left for a moment."""
    keeper = keep(SLEEPS)
    await keeper.start()
    make, failures = asyncio.create_subprocess_exec, iter([failure, failure])

    async def failing(*command: str, **options: Any) -> asyncio.subprocess.Process:
        for each in failures:
            raise each
        return await make(*command, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", failing)
    with capture_logs() as logs:
        os.kill(keeper.pid, signal.SIGKILL)
        await until(lambda: keeper.restarts == 1 and keeper.pid)
    held = [line["problem"] for line in logs if line["event"] == "supervisor.holds_back"]
    assert held == [str(failure), str(failure)]
    assert is_alive(keeper.pid)


async def test_the_pause_before_a_restart_grows(keep: Keep) -> None:
    keeper = keep("print('up')")
    with capture_logs() as logs:
        await keeper.start()
        await until(lambda: keeper.restarts == 2)
    assert [line["seconds"] for line in logs][:2] == [0.5, 1.0]


async def test_the_pause_is_short_again_after_a_healthy_time(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "HEALTHY_SECONDS", 0.0)
    keeper = keep("print('up')")
    with capture_logs() as logs:
        await keeper.start()
        await until(lambda: keeper.restarts == 2)
    assert [line["seconds"] for line in logs][:2] == [0.5, 0.5]


async def test_a_child_that_waits_for_its_restart_stays_down_when_it_is_stopped(keep: Keep) -> None:
    keeper = keep(SLEEPS)
    await keeper.start()
    with capture_logs() as logs:
        os.kill(keeper.pid, signal.SIGKILL)
        await until(lambda: logs)
    await keeper.stop()
    assert (keeper.pid, keeper.restarts) == (0, 0)


async def test_a_child_that_ends_at_its_start_is_quoted(keep: Keep) -> None:
    with pytest.raises(MeshError, match=r"^toy ended at its start: ValueError: no such thing "):
        await keep("raise ValueError('no such thing')").start()


async def test_under_a_java_exception_its_cause_is_quoted(keep: Keep) -> None:
    trace = "Exception: failed\\n\\tat Kafka.main(Kafka.scala)\\nCaused by: disk is full\\n\\tat a.b\\n\\t... 4 more"
    with pytest.raises(MeshError, match="toy ended at its start: Caused by: disk is full "):
        await keep(f"raise SystemExit('{trace}')").start()


async def test_a_child_that_says_nothing_is_named_all_the_same(keep: Keep) -> None:
    keeper = keep("raise SystemExit(3)")
    keeper.child.log.write_text("what an earlier one said\n")
    with pytest.raises(MeshError, match="toy ended at its start: it said nothing "):
        await keeper.start()


async def test_a_child_that_is_late_is_named_and_waited_for(
    keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LATE_SECONDS", 0.1)
    slow = "import os, time\nprint('come', flush=True)\nwhile not os.path.exists(os.environ['GO']): time.sleep(0.01)\n"
    keeper = keep(slow + SLEEPS, GO=str(tmp_path / "go"))
    with capture_logs() as logs:
        starting = asyncio.create_task(keeper.start())
        await until(lambda: logs)
        assert not starting.done()
        (tmp_path / "go").touch()
        await starting
    assert [(line["event"], line["child"]) for line in logs] == [("supervisor.late", "toy")]
    assert is_alive(keeper.pid)


SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from servers.mesh.supervisor import Child, Keeper

async def main(folder: Path) -> None:
    log = folder / "toy.log"

    async def is_ready() -> bool:
        return "up" in log.read_text()

    keeper = Keeper(Child("toy", [sys.executable, "-c", sys.argv[2]], {}, log, is_ready))
    await keeper.start()
    print(keeper.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_no_child_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path), STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert is_alive(child)
        process.kill()
        process.wait()
    end = time.monotonic() + PATIENCE
    while is_alive(child):
        assert time.monotonic() < end, "the child goes on"
        time.sleep(0.01)
