"""A small disk of its own, which can be full."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.disk import bring_back, can_mount, filled, mount, unmount


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
