"""A small disk of its own, which can be full, or slow."""

import errno
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.disk import BLKIO, bring_back, can_mount, can_slow, filled, mount, slowed, unmount, unmount_below

LINES = 20
WRITER = """
import os, sys
with open(sys.argv[1], "wb", buffering=0) as file:
    for line in sys.stdin:
        file.write(line.encode())
        os.fdatasync(file.fileno())
        print(line, end="", flush=True)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB; skipped where none can be mounted."""
    folder = tmp_path / "disk"
    if not can_mount(folder):  # that takes root, and a container that lets it
        pytest.skip("no disk can be mounted here")
    mount(folder, 4 << 20)
    yield folder
    if folder.is_mount():
        unmount(folder)


def test_a_full_disk_takes_no_byte_until_it_is_not(disk: Path) -> None:
    with filled(disk):
        with pytest.raises(OSError, match="No space left") as error:
            (disk / "more").write_bytes(b"x")
        assert error.value.errno == errno.ENOSPC
    assert (disk / "more").write_bytes(b"x") == 1


def test_what_was_on_a_disk_is_there_when_it_is_gone(disk: Path) -> None:
    (disk / "db").write_bytes(b"rows")
    bring_back(disk)
    assert not disk.is_mount()
    assert (disk / "db").read_bytes() == b"rows"
    assert sorted(disk.parent.iterdir()) == [disk]


def test_a_disk_goes_once_who_was_killed_has_let_go_of_it(disk: Path) -> None:
    file = (disk / "log").open("wb")
    letting_go = threading.Timer(0.3, file.close)
    letting_go.start()
    unmount(disk)
    assert file.closed
    assert not disk.is_mount()


def seconds_for_lines(writer: "subprocess.Popen[str]") -> float:
    """Until all lines are on the disk, one after the other."""
    assert writer.stdin is not None
    assert writer.stdout is not None
    began = time.monotonic()
    for number in range(LINES):
        writer.stdin.write(f"{number}\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == f"{number}\n"
    return time.monotonic() - began


def test_a_process_that_dies_leaves_no_group_behind(disk: Path) -> None:
    if not can_slow(disk):  # that takes root, and control groups of version 1
        pytest.skip("no disk can be slowed down here")
    with subprocess.Popen(["sleep", "60"]) as process, slowed(disk, process.pid, writes=5):
        process.kill()
        group = BLKIO / f"ronghe-faults-{process.pid}"
        assert group.exists()
    assert not group.exists()


def test_what_is_written_to_a_slow_disk_waits_for_it(disk: Path) -> None:
    if not can_slow(disk):  # that takes root, and control groups of version 1
        pytest.skip("no disk can be slowed down here")
    command = [sys.executable, "-c", WRITER, str(disk / "file")]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with writer, slowed(disk, writer.pid, writes=5):
        slow = seconds_for_lines(writer)
    assert slow > LINES / 5 / 2


def test_what_a_killed_campaign_left_mounted_is_unmounted(disk: Path) -> None:
    disk.with_name("disk.image").unlink()
    unmount_below(disk.parent)
    assert not disk.is_mount()
