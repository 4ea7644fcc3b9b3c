"""Where the demo plays: a mesh that runs already, or one that is started for it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60.0


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
    """The mesh of this data directory: the one that runs, or one that ends with the demo."""
    endpoints = data / "run" / "endpoints.json"
    if endpoints.exists():
        yield _stage(data, endpoints)
        return
    command = [sys.executable, "-m", "servers.mesh", "--data", str(data)]
    command += ["--port-base", str(port_base)] if port_base is not None else []
    mesh = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        _wait(mesh, endpoints)
        yield _stage(data, endpoints)
    finally:
        mesh.terminate()
        mesh.communicate()


def _wait(mesh: "subprocess.Popen[str]", endpoints: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not endpoints.exists():
        if mesh.poll() is not None:
            raise StageError(mesh.communicate()[1].strip() or "the mesh ended before it was ready")
        if time.monotonic() > end:
            raise StageError(
                f"the mesh was not ready within {START_SECONDS:.0f} s: see {endpoints.parent.parent / 'log'}"
            )
        time.sleep(0.05)


def _stage(data: Path, endpoints: Path) -> Stage:
    found = json.loads(endpoints.read_text())
    return Stage(data, {name: entry["address"] for name, entry in found.items() if "address" in entry})
