"""The program under test where the suite runs it: it can be killed, and is started again."""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from clients.conformance.errors import CannotPlay
from clients.conformance.seen import Exit, Seen

# Seconds from an end to the next start.
PAUSE = 0.5
MOST_STARTS = 10
# Seconds that it gets to end when it is asked to.
GRACE = 5.0


class Program:
    """A command, with its output on standard error. Without one the program is somebody else's to start.

    `{address}` in an argument stands for the address where the program shall connect.
    """

    def __init__(self, command: Sequence[str], seen: Seen) -> None:
        self._command = command
        self._seen = seen
        self._process: asyncio.subprocess.Process | None = None
        self._killed = False
        self.stays_down = False
        """Whether it is not started again."""

    @property
    def is_ours(self) -> bool:
        """Whether the suite runs it."""
        return bool(self._command)

    def kill(self) -> None:
        """SIGKILL; what it started dies with it."""
        self._killed = True
        self._signal(signal.SIGKILL)

    @asynccontextmanager
    async def running(self, address: str) -> AsyncIterator[None]:
        """Run it, until the block is left; raises CannotPlay where there is no such program."""
        if self._command and shutil.which(self._command[0]) is None:
            raise CannotPlay(f"{self._command[0]} is no program that can be started")
        self._seen.started_programs = self.is_ours
        task = asyncio.ensure_future(self._run([each.replace("{address}", address) for each in self._command]))
        try:
            yield
        finally:
            self.stays_down = True
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await asyncio.shield(task)
            self._signal(signal.SIGKILL)
            await task

    async def _run(self, command: Sequence[str]) -> None:
        for _ in range(MOST_STARTS if command else 0):
            self._killed = False
            # Standard output is the report's.
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=sys.stderr.fileno(), start_new_session=True
            )
            status = await self._process.wait()
            if not self.stays_down:
                self._seen.exits.append(Exit(time.monotonic(), status, self._killed))
                await asyncio.sleep(PAUSE)
            if self.stays_down:
                return

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
