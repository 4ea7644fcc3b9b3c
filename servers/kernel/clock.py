"""The time a subsystem goes by: the machine's, watched for steps; in a simulation, advanced by operators.

The machine's clock is compared with one that grows evenly. Where it was stepped by over a minute, time goes on evenly
from before the step, and timers wait, until an operator confirms the new time or the clock has come back. What is
trusted stands among the cursors, by the machine's boot: it outlasts a restart of the process, and replicas on one
machine share it.
"""

import asyncio
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, select

from bridge.ports import Cursor, StoreUnavailable
from ronghe.error.v1.reason_pb2 import Reason
from ronghe.operations.v1 import operations_service_pb2 as pb
from servers.kernel import tables
from servers.kernel.batch import Batch
from servers.kernel.statements import Statements
from servers.kernel.stream import Refused
from servers.kernel.times import MICROSECOND, MachineClock, from_micros, to_micros, to_timestamp
from servers.kernel.units import MoveCursors

if TYPE_CHECKING:
    from servers.kernel.kernel import Kernel

log = structlog.get_logger()

LARGEST_STEP = timedelta(minutes=1)
"""Less is followed: what keeps clocks right moves them."""
DRIFT = timedelta(seconds=1)
"""What is stored follows by so much."""
AT_ONCE = timedelta(milliseconds=100)
LOOK_SECONDS = 1.0
TRUSTED = "clock/trusted/"
ADVANCED = "clock/advanced"


class ClockAdvanced(Exception):
    """The database belongs to a simulation, and this process to none."""


class LegalClock:
    """A clock that is not led astray. Any thread may ask it."""

    def __init__(self, machine: MachineClock, *, stepped: bool) -> None:
        self._machine = machine
        self._stepped = stepped
        self._trusted = self._measured()
        self._advanced = timedelta()

    def now(self) -> datetime:
        """The time to go by, in UTC."""
        now, even = self._machine.now(), self._trusted + self._machine.uptime()
        return (now if abs(now - even) <= LARGEST_STEP else even) + self._advanced

    @property
    def step(self) -> timedelta:
        """How far the machine's clock was stepped, where nobody has confirmed it; none while it is gone by."""
        moved = self._measured() - self._trusted
        return moved if abs(moved) > LARGEST_STEP else timedelta()

    def latest(self) -> datetime:
        """The later one of the two times that may be right."""
        return max(self.now(), self._machine.now() + self._advanced)

    def shown(self) -> pb.ClockStatus:
        """How the time comes about."""
        status, step = pb.ClockStatus(stepped=self._stepped), self.step
        if step:
            status.step.FromTimedelta(step)
        status.advanced.FromTimedelta(self._advanced)
        return status

    def _measured(self) -> datetime:
        """When the even clock stood at zero, by the machine's: both read at once, the process not halted between."""
        while True:
            uptime, now = self._machine.uptime(), self._machine.now()
            if self._machine.uptime() - uptime < AT_ONCE:
                return now - uptime

    # --- what is stored ---

    def learn(self, connection: Connection) -> None:
        """What is trusted, and how far it was advanced. Raises ClockAdvanced."""
        trusted = _stored(connection, TRUSTED + self._machine.boot)
        advanced = _stored(connection, ADVANCED) or 0
        if advanced and not self._stepped:
            raise ClockAdvanced("the clock of this database was advanced: it is a simulation, start it --stepped-clock")
        self._trusted = self._trusted if trusted is None else from_micros(trusted)
        self._advanced = advanced * MICROSECOND

    def is_kept(self, connection: Connection) -> bool:
        """Whether what is stored is what is gone by, as nearly as it need be."""
        self.learn(connection)
        stored, moved = _stored(connection, TRUSTED + self._machine.boot), abs(self._measured() - self._trusted)
        return stored is not None and not DRIFT < moved <= LARGEST_STEP

    def follow(self, connection: Connection, statements: Statements) -> None:
        """Trust the machine's clock as it is, unless it was stepped meanwhile."""
        self.learn(connection)
        measured = self._measured()
        if abs(measured - self._trusted) <= LARGEST_STEP:
            self._trust(measured, connection, statements)

    def _trust(self, measured: datetime, connection: Connection, statements: Statements) -> None:
        cursor = Cursor(TRUSTED + self._machine.boot, {"micros": to_micros(measured)})
        MoveCursors([cursor]).store(connection, statements)

    # --- what operators do; it is learned once it is durable ---

    def confirm(self, batch: Batch, request: pb.ConfirmClockRequest) -> pb.ConfirmClockResponse:
        """Go by the machine's clock again."""
        step, measured = self.step, self._measured()
        self._trust(measured, batch.connection, batch.statements)
        now = measured + self._machine.uptime() + self._advanced
        response = pb.ConfirmClockResponse(now=to_timestamp(to_micros(now)))
        response.step.FromTimedelta(step)
        return response

    def advance(self, batch: Batch, request: pb.AdvanceClockRequest) -> pb.AdvanceClockResponse:
        """Let time pass. Raises Refused where this is no simulation."""
        if not self._stepped:
            raise Refused(
                Reason.REASON_CLOCK_NOT_STEPPED,
                "only a simulation's clock can be advanced: start the mesh with --stepped-clock",
            )
        advanced = (_stored(batch.connection, ADVANCED) or 0) * MICROSECOND + request.by.ToTimedelta()
        cursor = Cursor(ADVANCED, {"micros": advanced // MICROSECOND})
        MoveCursors([cursor]).store(batch.connection, batch.statements)
        now = self.now() - self._advanced + advanced
        response = pb.AdvanceClockResponse(now=to_timestamp(to_micros(now)))
        response.advanced.FromTimedelta(advanced)
        return response


async def watched(kernel: "Kernel") -> None:
    """Keep what is trusted in step with small steps, and say when a large one comes and goes; until cancelled."""
    clock, said = kernel.clock, timedelta()
    while True:
        try:
            if not await kernel.read(clock.is_kept):
                await kernel.write(lambda connection: clock.follow(connection, kernel.writer.statements))
                await kernel.read(clock.learn)
        except StoreUnavailable as error:
            log.warning("clock.unwatched", error=str(error))
        step = clock.step
        if bool(step) != bool(said):
            log.warning("clock.stepped" if step else "clock.trusted", seconds=step.total_seconds())
        said = step
        await asyncio.sleep(LOOK_SECONDS)


def _stored(connection: Connection, name: str) -> int | None:
    """Microseconds."""
    value = connection.scalar(select(tables.cursor.c.value).where(tables.cursor.c.name == name))
    return None if value is None else int(json.loads(value)["micros"])
