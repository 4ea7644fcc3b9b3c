"""The data directory of a mesh: one mesh at a time, room to write, and where everything listens while it runs.

`python -m servers.mesh.folder DATA` says whether a mesh runs there: `true` or `false`.
"""

import fcntl
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from servers.mesh.errors import MeshError
from servers.mesh.ports import Ports
from servers.mesh.supervisor import Keeper

LEAST_FREE_BYTES = 200 * 1024 * 1024


class DataTaken(MeshError):
    """A mesh runs on the data directory already."""


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """One mesh at a time on a data directory; the lock goes with the process. Raises DataTaken, MeshError."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        file = (data / "lock").open("w")
    except OSError as error:
        reason = f"the data directory {data} cannot be written: {error.strerror}"
        raise MeshError(f"{reason}; name another with --data") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataTaken(f"a mesh runs on {data} already: stop it, or name another directory with --data") from error
        # What a mesh that was killed left behind.
        endpoints_file(data).unlink(missing_ok=True)
        yield


def is_taken(data: Path) -> bool:
    """Whether a mesh runs there, ready or not; where none does, what a killed one left is gone. Raises MeshError."""
    try:
        with locked(data):
            return False
    except DataTaken:
        return True


def check_room(data: Path) -> None:
    """Raises MeshError when the disk is too full for Kafka and the databases to start."""
    free = shutil.disk_usage(data).free
    if free < LEAST_FREE_BYTES:
        needed = LEAST_FREE_BYTES // 1_000_000
        raise MeshError(f"only {free // 1_000_000} MB are free for {data}, {needed} MB are needed: make room")


@contextmanager
def announced(data: Path, ports: Ports, keepers: Mapping[str, Keeper]) -> Iterator[None]:
    """`run/endpoints.json` with the addresses and the pids of now, until the end of the block."""
    write = partial(_write_endpoints, endpoints_file(data), ports, keepers)
    write()
    for keeper in keepers.values():
        keeper.on_restart = write
    try:
        yield
    finally:
        for keeper in keepers.values():
            keeper.on_restart = None
        endpoints_file(data).unlink(missing_ok=True)


def endpoints_file(data: Path) -> Path:
    """There while a mesh runs: name -> address ("127.0.0.1:7101") and pid.

    Of several replicas: all their addresses, separated by commas, the first one's pid, and `pids`, address -> pid.
    """
    return data / "run" / "endpoints.json"


def _write_endpoints(path: Path, ports: Ports, keepers: Mapping[str, Keeper]) -> None:
    path.parent.mkdir(exist_ok=True)
    found: dict[str, dict[str, Any]] = {}
    for key, keeper in keepers.items():
        name, _, replica = key.partition("/")
        entry = found.setdefault(name, {"address": ports.addresses(name), "pid": keeper.pid})
        if "," in entry["address"]:
            entry.setdefault("pids", {})[ports.address(name, int(replica or 1))] = keeper.pid
    new = path.with_suffix(".new")
    new.write_text(json.dumps(found, indent=2) + "\n")
    new.rename(path)


def main() -> int:
    """For programs that must not import this one; 1 when the directory cannot be used."""
    try:
        taken = is_taken(Path(sys.argv[1]))
    except MeshError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{json.dumps(taken)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
