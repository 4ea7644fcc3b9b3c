"""Runs a command that must not outlive its supervisor: `python -m servers.mesh.child COMMAND ...`.

Only Linux has the means. Elsewhere the children of a supervisor that was killed go on, and the next start names the
port that one of them holds.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for a SIGKILL when the parent dies, however it dies, and become the command."""
    parent = os.getppid()
    if sys.platform == "linux":
        # Every process here survives a SIGKILL, and its port is free for the next start at once.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the supervisor has ended already")
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - a command of the supervisor's own


if __name__ == "__main__":
    main()
