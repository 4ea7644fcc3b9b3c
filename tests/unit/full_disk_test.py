"""A disk that is full takes nothing from a process but its log."""

import subprocess
import sys
from pathlib import Path

LOGS = """
import resource, sys
from pathlib import Path
import structlog
from clients.telemetry.logging import configure_logging

configure_logging("toy", Path(sys.argv[1]))
log = structlog.get_logger()
log.warning("first")
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
for _ in range(1000):
    log.warning("lost")
resource.setrlimit(resource.RLIMIT_FSIZE, before)
log.warning("last")
"""


def test_who_cannot_write_its_log_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "toy.log"
    done = subprocess.run([sys.executable, "-c", LOGS, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, last = path.read_text().splitlines()
    assert '"first"' in first
    assert '"last"' in last
