"""A small disk of its own, where one can be mounted: by root, and not in every container."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOUNT = ("mount", "-t", "tmpfs", "tmpfs")
CHUNK_BYTES = 1 << 20


def can_mount(folder: Path) -> bool:
    """Whether a disk can be mounted there."""
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run([*MOUNT, str(folder)], capture_output=True, check=False).returncode:
        return False
    unmount(folder)
    return True


def mount(folder: Path, size: int) -> None:
    """A disk of so many bytes, in the place of what is there."""
    subprocess.run([*MOUNT, "-o", f"size={size}", str(folder)], check=True)


def unmount(folder: Path) -> None:
    """What is on it is gone."""
    subprocess.run(["umount", str(folder)], check=True)  # noqa: S607


def bring_back(folder: Path) -> None:
    """Unmount it; what was on it is in the folder then."""
    kept = folder.with_name(f"{folder.name}.kept")
    copy(folder, kept)
    unmount(folder)
    folder.rmdir()
    kept.rename(folder)


def copy(source: Path, target: Path) -> None:
    """A folder with all that is in it. Holes stay holes: a broker's indexes are made of little else."""
    subprocess.run(["cp", "-aT", "--sparse=always", str(source), str(target)], check=True)  # noqa: S607


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Its disk has no byte left while the block lasts."""
    ballast = folder / "ballast"
    try:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(CHUNK_BYTES))
        yield
    finally:
        ballast.unlink(missing_ok=True)
