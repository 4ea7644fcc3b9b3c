"""Keeps child processes running: restarts what dies, and stops everything in order."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from servers.mesh.errors import MeshError

log = structlog.get_logger()

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
# Whoever ran so long is healthy: the next pause is short again.
HEALTHY_SECONDS = 60.0
# A server that is asked for much needs 16.
GRACE_SECONDS = 20.0
LATE_SECONDS = 45.0
LOOK_SECONDS = 0.05
STACK_FRAME = re.compile(r"\s+(at |\.\.\. )")


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    is_ready: Callable[[], Awaitable[bool]]
    may_start: Callable[[], None] = lambda: None
    """Raises MeshError while it must not be started again; it may take its time."""


@dataclass(eq=False)
class Keeper:
    """Keeps one child running until it is told to stop."""

    child: Child
    longest_pause: float = LONGEST_PAUSE
    on_restart: Callable[[], None] | None = None
    """Called when the child runs again, with another pid; an OSError of its own is logged and costs nothing else."""
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    _stopping: bool = False
    _task: asyncio.Task[None] | None = None
    _pause: float = field(default=FIRST_PAUSE)
    _log_start: int = 0

    @property
    def pid(self) -> int:
        """Of the running process; 0 while there is none."""
        return self.process.pid if self.process and self.process.returncode is None else 0

    async def start(self) -> None:
        """Return when the child is ready, which may take long: it has much to recover, or migrates its database.

        Raises MeshError when it ends before that.
        """
        self.process = await self._spawn()
        late = asyncio.get_running_loop().call_later(LATE_SECONDS, self._is_late)
        try:
            while not await self.child.is_ready():
                if self.process.returncode is not None:
                    raise MeshError(f"{self.child.name} ended at its start: {self._last_line()} (see {self.child.log})")
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            late.cancel()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """SIGTERM, and after the grace SIGKILL."""
        self._stopping = True
        process = self.process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(GRACE_SECONDS):
                    await process.wait()
            except TimeoutError:
                log.warning("supervisor.killed", child=self.child.name)
                process.kill()
                await process.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _spawn(self) -> asyncio.subprocess.Process:
        self.child.log.parent.mkdir(parents=True, exist_ok=True)
        with self.child.log.open("ab") as output:
            self._log_start = output.tell()
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "servers.mesh.child", *self.child.command),
                env={**os.environ, **self.child.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches the supervisor alone: it stops the children in their order.
                start_new_session=True,
            )

    async def _keep(self) -> None:
        while True:
            started = time.monotonic()
            assert self.process is not None  # noqa: S101 - start() came first
            status = await self.process.wait()
            if self._stopping:
                return
            if time.monotonic() - started > HEALTHY_SECONDS:
                self._pause = FIRST_PAUSE
            log.warning("supervisor.restarts", child=self.child.name, status=status, seconds=self._pause)
            await self._rest()
            self.process = await self._started_again()
            self.restarts += 1
            self._report()

    async def _started_again(self) -> asyncio.subprocess.Process:
        """What keeps it from that may pass: the others run, and it is tried again."""
        while True:
            try:
                await asyncio.to_thread(self.child.may_start)
                return await self._spawn()
            except Exception as error:  # whatever it is: nobody else would start it
                log.warning("supervisor.holds_back", child=self.child.name, problem=str(error), seconds=self._pause)
            await self._rest()

    def _report(self) -> None:
        """That it runs again; it is kept running also where that cannot be written."""
        try:
            if self.on_restart:
                self.on_restart()
        except OSError as error:
            log.warning("supervisor.unreported", child=self.child.name, problem=str(error))

    async def _rest(self) -> None:
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, self.longest_pause)

    def _is_late(self) -> None:
        log.warning("supervisor.late", child=self.child.name, seconds=LATE_SECONDS)

    def _last_line(self) -> str:
        """What it said last; under a Java exception, its cause rather than where it came by."""
        written = self.child.log.read_bytes()
        begin = self._log_start if self._log_start <= len(written) else 0  # it was set aside meanwhile
        lines = written[begin:].decode(errors="replace").splitlines()
        said = [line for line in lines if line.strip() and not STACK_FRAME.match(line)]
        return said[-1][:300] if said else "it said nothing"
