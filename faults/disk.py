"""A small disk of its own, where root can mount one: it can be full, or slow."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LEAST_BYTES = 1 << 22
CHUNKS = (1 << 20, 1 << 10)
DEATH_SECONDS, LOOK_SECONDS = 10.0, 0.02
BLKIO = Path("/sys/fs/cgroup/blkio")
"""Where root tells the kernel how fast a disk may be to whom: version 1 of control groups."""
LIMIT = "blkio.throttle.write_iops_device"


def can_mount(folder: Path) -> bool:
    """Whether a disk can be mounted there."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        mount(folder, LEAST_BYTES)
    except OSError:
        return False
    unmount(folder)
    return True


def mount(folder: Path, size: int) -> None:
    """A disk of so many bytes, in the place of what is there: a file beside it, with a file system of its own.

    Raises OSError.
    """
    image = _image(folder)
    try:
        with image.open("wb") as file:
            file.truncate(size)
        _run("mkfs.ext4", "-q", "-m", "0", str(image))
        _run("mount", "-o", "loop", str(image), str(folder))
    except OSError:
        image.unlink()
        raise
    (folder / "lost+found").rmdir()  # a broker would take it for a partition


def unmount(folder: Path) -> None:
    """What is on it is gone. A process that was killed holds its files until its last thread has ended."""
    end = time.monotonic() + DEATH_SECONDS
    while True:
        try:
            _run("umount", str(folder))
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(LOOK_SECONDS)
        else:
            break
    _image(folder).unlink(missing_ok=True)


def unmount_below(folder: Path) -> None:
    """What a campaign that was killed has left mounted."""
    for place in [path for path in folder.rglob("*") if path.is_mount()]:
        unmount(place)


def _image(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.image")


def _run(*command: str) -> None:
    """Raises OSError: there is no such program, or what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")


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
    return folder.is_mount() and os.access(_group_of(os.getpid()) / LIMIT, os.W_OK)


@contextmanager
def slowed(folder: Path, pid: int, writes: int) -> Iterator[None]:
    """Its disk writes for this process so often a second, and no more, while the block lasts."""
    device, before, slow = folder.stat().st_dev, _group_of(pid), BLKIO / f"ronghe-faults-{pid}"
    slow.mkdir(exist_ok=True)
    try:
        (slow / LIMIT).write_text(f"{os.major(device)}:{os.minor(device)} {writes}")
        (slow / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with suppress(ProcessLookupError):
            (before / "cgroup.procs").write_text(str(pid))
        _remove(slow)


def _group_of(pid: int) -> Path:
    """The control group in which it is, where there are such groups."""
    lines = (line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    names = [path.lstrip("/") for _, controllers, path in lines if "blkio" in controllers.split(",")]
    return BLKIO.joinpath(*names)


def _remove(group: Path) -> None:
    """Once it is empty: a process that was killed is in it until it has ended."""
    end = time.monotonic() + DEATH_SECONDS
    while (group / "cgroup.procs").read_text() and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
    group.rmdir()
