"""Where the demo plays: a mesh that runs already, or one that is started for it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60.0
LOOK_SECONDS = 0.05


class StageError(Exception):
    """There is no mesh to play on; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A running mesh."""

    data: Path
    addresses: dict[str, str]

    @property
    def pki(self) -> Path:
        """The certificates."""
        return self.data / "pki"


@contextmanager
def stage(data: Path, port_base: int | None) -> Iterator[Stage]:
    """The mesh of this data directory: the one that runs, or one that ends with the demo. Raises StageError."""
    endpoints = data / "run" / "endpoints.json"
    if _runs(data, endpoints):
        yield _stage(data, endpoints)
        return
    command = [sys.executable, "-m", "servers.mesh", "--data", str(data)]
    command += ["--port-base", str(port_base)] if port_base is not None else []
    with started(command, endpoints):
        yield _stage(data, endpoints)


@contextmanager
def started(command: Sequence[str], endpoints: Path) -> Iterator[None]:
    """The mesh of this command, ready; it is told once to stop, and dies with the demo. Raises StageError."""
    mesh = subprocess.Popen(
        [sys.executable, "-m", "servers.mesh.child", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C reaches the demo alone: a second signal would end the mesh before it has drained.
        start_new_session=True,
    )
    try:
        _wait(mesh, endpoints)
        yield
    finally:
        mesh.terminate()
        mesh.communicate()


def _runs(data: Path, endpoints: Path) -> bool:
    """Whether a mesh runs there that somebody else started; until it is ready, or has ended, it is waited for.

    Its lock tells: the endpoints of a mesh that was killed are still there.
    """
    end = time.monotonic() + START_SECONDS
    while _is_taken(data):
        if endpoints.exists():
            return True
        _check_time(end, data)
        time.sleep(LOOK_SECONDS)
    return False


def _is_taken(data: Path) -> bool:
    """Of the mesh's own code, which takes endpoints away that nobody listens at."""
    asked = subprocess.run(
        [sys.executable, "-m", "servers.mesh.folder", str(data)], capture_output=True, text=True, check=False
    )
    if asked.returncode != 0:
        raise StageError(asked.stderr.strip())
    return bool(json.loads(asked.stdout))


def _wait(mesh: "subprocess.Popen[str]", endpoints: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not endpoints.exists():
        if mesh.poll() is not None:
            raise StageError(mesh.communicate()[1].strip() or "the mesh ended before it was ready")
        _check_time(end, endpoints.parent.parent)
        time.sleep(LOOK_SECONDS)


def _check_time(end: float, data: Path) -> None:
    if time.monotonic() > end:
        raise StageError(f"the mesh was not ready within {START_SECONDS:.0f} s: see {data / 'log'}")


def _stage(data: Path, endpoints: Path) -> Stage:
    found = json.loads(endpoints.read_text())
    return Stage(data, {name: entry["address"] for name, entry in found.items() if "address" in entry})
