import subprocess
import sys
import time
from pathlib import Path

import pytest

from servers.mesh import logs

WRITES = """
import sys
with open(sys.argv[1], "ab", buffering=0) as file:
    for number in range(1_000_000_000):
        file.write(b"%d\\n" % number)
"""
FILLS = """
import resource, sys
from pathlib import Path
from servers.mesh import logs

logs.MOST_BYTES = 1_000
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
logs.look(Path(sys.argv[1]))
"""
PATIENCE = 60.0


def numbers(path: Path) -> list[int]:
    """Of the whole lines."""
    return [int(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def set_aside(path: Path, after: int) -> list[int]:
    """Look until what comes after this number was set aside; gives it."""
    aside, end = path.with_name(f"{path.name}.1"), time.monotonic() + PATIENCE
    while not aside.exists() or numbers(aside)[0] <= after:
        assert time.monotonic() < end, "nothing was set aside"
        logs.look(path.parent)
    return numbers(aside)


def test_a_log_that_grows_is_set_aside_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 100_000)
    path, aside = tmp_path / "toy.log", tmp_path / "toy.log.1"
    with subprocess.Popen([sys.executable, "-c", WRITES, str(path)]) as writer:
        first = set_aside(path, after=-1)
        second = set_aside(path, after=first[-1])
        writer.kill()
    assert numbers(aside) == second == sorted(second)
    left = numbers(path)
    assert left == sorted(left)
    assert not left or left[0] > second[-1]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["toy.log", "toy.log.1"]


def test_a_log_that_is_not_large_stays(tmp_path: Path) -> None:
    (tmp_path / "toy.log").write_text("all there is\n")
    logs.look(tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["all there is\n"]


def test_a_log_stays_where_the_disk_has_no_room_for_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "toy.log"
    path.write_text("x" * 2_000)
    done = subprocess.run([sys.executable, "-c", FILLS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_text() == "x" * 2_000
