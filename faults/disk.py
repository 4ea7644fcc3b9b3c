"""A small disk of its own, where one can be mounted: by root, and not in every container."""

import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LEAST_BYTES = 1 << 22
CHUNKS = (1 << 20, 1 << 10)
DEATH_SECONDS, LOOK_SECONDS = 10.0, 0.02
BLKIO = Path("/sys/fs/cgroup/blkio")
"""Where root tells the kernel how fast a disk may be to whom: version 1 of control groups."""


def can_mount(folder: Path) -> bool:
    """Whether a disk can be mounted there."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        mount(folder, LEAST_BYTES)
    except (OSError, subprocess.CalledProcessError):
        _image(folder).unlink(missing_ok=True)
        return False
    unmount(folder)
    return True


def mount(folder: Path, size: int) -> None:
    """A disk of so many bytes, in the place of what is there: a file beside it, with a file system of its own."""
    image = _image(folder)
    with image.open("wb") as file:
        file.truncate(size)
    _run("mkfs.ext4", "-q", "-m", "0", str(image))
    _run("mount", "-o", "loop", str(image), str(folder))
    (folder / "lost+found").rmdir()  # a broker would take it for a partition


def unmount(folder: Path) -> None:
    """What is on it is gone."""
    _run("umount", str(folder))
    _image(folder).unlink()


def _image(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.image")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def bring_back(folder: Path) -> None:
    """Unmount it; what was on it is in the folder then."""
    kept = folder.with_name(f"{folder.name}.kept")
    copy(folder, kept)
    unmount(folder)
    folder.rmdir()
    kept.rename(folder)


def copy(source: Path, target: Path) -> None:
    """A folder with all that is in it. Holes stay holes: a broker's indexes are made of little else."""
    _run("cp", "-aT", "--sparse=always", str(source), str(target))


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Its disk has no byte left while the block lasts."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            for chunk in CHUNKS:
                with suppress(OSError):
                    while True:
                        file.write(bytes(chunk))
        yield
    finally:
        ballast.unlink(missing_ok=True)


def can_slow(folder: Path) -> bool:
    """Whether it has a disk of its own, which can be slowed down."""
    return folder.is_mount() and os.access(BLKIO / "cgroup.procs", os.W_OK)


@contextmanager
def slowed(folder: Path, pids: Iterable[int], writes: int) -> Iterator[None]:
    """Its disk writes for each of these processes so often a second, and no more, while the block lasts."""
    device = folder.stat().st_dev
    limit = f"{os.major(device)}:{os.minor(device)} {writes}"
    groups = {pid: (_group_of(pid), BLKIO / f"ronghe-faults-{pid}") for pid in pids}
    try:
        for pid, (_, slow) in groups.items():
            slow.mkdir()
            (slow / "blkio.throttle.write_iops_device").write_text(limit)
            (slow / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for pid, (before, slow) in groups.items():
            with suppress(ProcessLookupError):
                (before / "cgroup.procs").write_text(str(pid))
            _remove(slow)


def _remove(group: Path) -> None:
    """Once it is empty: a process that was killed is in it until it has ended."""
    end = time.monotonic() + DEATH_SECONDS
    while (group / "cgroup.procs").read_text() and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
    group.rmdir()


def _group_of(pid: int) -> Path:
    """The control group in which it is."""
    lines = (line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    return next(BLKIO / path.lstrip("/") for _, controllers, path in lines if "blkio" in controllers.split(","))
