"""What a process uses, as the system has it."""

import os
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


def memory_of(pid: int) -> int:
    """Resident bytes; 0 where there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def files_of(pid: int) -> int:
    """Open files."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def threads_of(pid: int) -> int:
    """Threads."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0
