"""Which epoch each subsystem's database was in last: none comes twice, and a database that was there is missed.

Kept outside `db/`, which may be a volume of its own that goes away as a whole.
"""

import json
import os
from pathlib import Path

from servers.mesh.errors import MeshError


def epochs_file(data: Path) -> Path:
    """There once a database was: subsystem -> epoch."""
    return data / "epochs.json"


def last_epoch(data: Path, name: str) -> int:
    """0 while there was no database of this subsystem. Raises MeshError."""
    return _known(data).get(name, 0)


def remember_epoch(data: Path, name: str, epoch: int) -> None:
    """Of a database that is there; an earlier epoch than the last one is not remembered. Raises MeshError."""
    known = _known(data)
    if epoch <= known.get(name, 0):
        return
    new = epochs_file(data).with_suffix(".new")
    # On the disk before it takes the other's place: after a power cut the file would be there, and empty.
    with new.open("w") as file:
        file.write(json.dumps(known | {name: epoch}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.rename(epochs_file(data))
    _sync_folder(data)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _known(data: Path) -> dict[str, int]:
    path = epochs_file(data)
    try:
        return {str(name): int(epoch) for name, epoch in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise MeshError(f"{path} cannot be read: delete it once every database is in its place") from error
