"""Clocks that are stepped, operators who confirm them, and processes that stand still while a deadline passes."""

import asyncio
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing
from datetime import UTC
from functools import partial, wraps
from pathlib import Path

from faults.injections.days import OFFICER, days_pass, first_sign_in, opened, operator, status_of
from faults.injections.processes import killed
from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.mesh import SUBSYSTEMS, Mesh
from ronghe.collaboration.v1.collaboration_pb2 import Task
from ronghe.operations.v1 import operations_service_pb2 as pb

FOLDER = "clock"
"""In the scene's folder: a file for each deployment, with the seconds by which its clock is stepped."""
HELD_SECONDS = 4.0
"""For which a timer that is due must wait: timers are looked at every second."""
NOTICED_SECONDS = 60.0
"""Within which everybody has noticed, on a busy machine."""
AGREES_SECONDS = 10.0
DRIFT_SECONDS = 5.0
SUSPENDED_SECONDS, SUSPENDED_TIMES = 8.0, 5
STREAMS: Mapping[str, str] = {"intake": "application", "governance": "case", "department": "organ_case"}
"""Where a timer can be put in each."""
PROBE, SIGN_IN = "probe", "sign-in"


# --- steps ---


def nobody_refused(injection: Injection) -> Injection:
    """Meanwhile no caller of the load is refused for his time, but for when clocks lawfully differ from his."""

    @wraps(injection)
    async def inject(stage: Stage) -> None:
        caller = stage.load.cast.caller
        before = caller.refused_for_time
        await injection(stage)
        if caller.refused_for_time > before:
            raise NotInjected(f"{caller.refused_for_time - before} honest requests were refused for their time")

    return inject


def step_held(seconds: float) -> Injection:
    """All clocks are stepped, and come back: timers wait meanwhile, and time goes on as before."""

    @nobody_refused
    async def inject(stage: Stage) -> None:
        async with _Stepped(stage, seconds):
            await _check_held(stage, seconds)
            waiting = await _probes(stage.mesh, seconds)
            await asyncio.sleep(HELD_SECONDS)
            fired = [name for name, stream in waiting.items() if _is_gone(stage.mesh, name, stream, PROBE)]
            if fired:
                raise NotInjected(f"timers fired at {', '.join(fired)} while the clock was not to be trusted")
        await _check_time(stage.mesh, 0.0)
        await _fired(stage.mesh, waiting)

    return inject


def step_outlasts_a_kill(name: str, seconds: float) -> Injection:
    """A process that dies and is started again while its clock is stepped knows that it is."""

    @nobody_refused
    async def inject(stage: Stage) -> None:
        async with _Stepped(stage, seconds):
            await _check_held(stage, seconds)
            await killed(name)(stage)
            await _check_held(stage, seconds)
        await _check_time(stage.mesh, 0.0)

    return inject


def step_followed(seconds: float) -> Injection:
    """Less than a minute is what keeps clocks right: timers go on."""

    @nobody_refused
    async def inject(stage: Stage) -> None:
        before = _trusted(stage.mesh)
        async with _Stepped(stage, seconds):
            await _check_time(stage.mesh, seconds)
            await _fired(stage.mesh, await _probes(stage.mesh, seconds))
            await until(lambda: _moved(stage.mesh, before) == len(SUBSYSTEMS), NOTICED_SECONDS, "not followed")
        await _check_time(stage.mesh, 0.0)
        await until(lambda: not _moved(stage.mesh, before), NOTICED_SECONDS, "not followed back")
        await asyncio.sleep(HELD_SECONDS)  # what is stored is what is gone by then

    return inject


def step_confirmed(seconds: float) -> Injection:
    """An operator says that the new time is right, and later that the old one was.

    In between the mesh goes by a clock that callers do not have: whom it refuses then it may.
    """

    @nobody_refused
    async def inject(stage: Stage) -> None:
        async with AsyncExitStack() as stepped:
            await stepped.enter_async_context(_Stepped(stage, seconds))
            await _check_held(stage, seconds)
            with stage.load.cast.caller.clocks_change():
                await _confirm(stage.mesh, seconds)
                await _check_time(stage.mesh, seconds)
                await _fired(stage.mesh, await _probes(stage.mesh, seconds))
                await stepped.aclose()
                await _check_held(stage, -seconds, ahead=seconds)
                await _confirm(stage.mesh, -seconds)
        await _check_time(stage.mesh, 0.0)
        for name in SUBSYSTEMS:
            _check_order(stage.mesh.database(name))

    return inject


class _Stepped:
    """The clocks of all subsystems are stepped within this block."""

    def __init__(self, stage: Stage, seconds: float) -> None:
        self._files = [stage.folder / FOLDER / f"{name}-01" for name in SUBSYSTEMS]
        self._seconds = seconds

    async def __aenter__(self) -> None:
        self._set(self._seconds)

    async def __aexit__(self, *_: object) -> None:
        self._set(0.0)

    def _set(self, seconds: float) -> None:
        """Whoever reads finds the whole of it."""
        for file in self._files:
            file.parent.mkdir(exist_ok=True)
            fresh = file.with_suffix(".new")
            fresh.write_text(str(seconds))
            fresh.replace(file)


# --- a deadline that passes meanwhile ---


@nobody_refused
async def suspended_over_a_deadline(stage: Stage) -> None:
    """The process that a sign-in is due in stands still then; when it goes on, the sign-in comes, once.

    It is tried again where the task ended in another way before its time came.
    """
    for _ in range(SUSPENDED_TIMES):
        stream, _ = await first_sign_in("department", stage.mesh)
        await _suspended(stage)
        ended = partial(_is_gone, stage.mesh, "department", stream, SIGN_IN)
        await until(ended, NOTICED_SECONDS, "the sign-in that was due has not come")
        signed = _signed(stage.mesh.database("department"), stream)
        if signed > 1:
            raise NotInjected(f"{stream} was signed for {signed} times")
        if signed:
            return
        if _is_assigned(stage.mesh.database("department"), stream):
            raise NotInjected(f"{stream} waits for a sign-in that nothing will bring")
    raise NotInjected("each of the tasks ended in another way before its time came")


async def _suspended(stage: Stage) -> None:
    await days_pass(stage, "department", before=SUSPENDED_SECONDS / 2)
    await stage.mesh.running("department")
    stage.mesh.signal("department", signal.SIGSTOP)
    try:
        await asyncio.sleep(SUSPENDED_SECONDS)
    finally:
        stage.mesh.signal("department", signal.SIGCONT)


# --- what is looked at ---


async def _statuses(mesh: Mesh) -> Mapping[str, pb.GetBridgeStatusResponse]:
    """Of all subsystems, once they answer."""
    return {name: await status_of(mesh, name) for name in SUBSYSTEMS}


async def _check_held(stage: Stage, seconds: float, *, ahead: float = 0.0) -> None:
    """Everybody knows of the step, and goes by the time from before it: ahead of the right one by so many seconds."""
    for name, status in (await _statuses(stage.mesh)).items():
        step = status.clock.step.ToTimedelta().total_seconds()
        if abs(step - seconds) > AGREES_SECONDS:
            raise NotInjected(f"{name} takes a step of {seconds:.0f} s for one of {step:.0f} s")
    await _check_time(stage.mesh, ahead, held=True)


async def _check_time(mesh: Mesh, ahead: float, *, held: bool = False) -> None:
    for name, status in (await _statuses(mesh)).items():
        advanced = status.clock.advanced.ToTimedelta().total_seconds()
        found = status.now.ToDatetime(UTC).timestamp() - advanced - time.time()
        if abs(found - ahead) > AGREES_SECONDS or status.clock.HasField("step") != held:
            raise NotInjected(
                f"the time of {name} is {found:.0f} s ahead, not {ahead:.0f}, or it holds what it must not"
            )


async def _confirm(mesh: Mesh, seconds: float) -> None:
    for name in SUBSYSTEMS:
        async with operator(mesh, name) as client:
            request = pb.ConfirmClockRequest(actor=OFFICER, reason="已与国家授时核对")
            done = await client.operations.confirm_clock(request)
        if abs(done.step.ToTimedelta().total_seconds() - seconds) > AGREES_SECONDS:
            raise NotInjected(f"{name} confirmed a step of {done.step.ToTimedelta()}, not {seconds:.0f} s")


def _check_order(database: Path) -> None:
    """The journal's times do not go back."""
    later = "SELECT count(*) FROM journal a JOIN journal b ON b.position = a.position + 1 WHERE b.taken_at < a.taken_at"
    with closing(opened(database)) as connection:
        (count,) = connection.execute(later).fetchone()
    if count:
        raise NotInjected(f"times go back {count} times in {database.name}")


def _moved(mesh: Mesh, before: Mapping[str, float]) -> int:
    """How many subsystems have stored that they trust another time than before."""
    return sum(abs(moment - before[name]) > DRIFT_SECONDS for name, moment in _trusted(mesh).items())


def _trusted(mesh: Mesh) -> Mapping[str, float]:
    """What each subsystem has stored, seconds since 1970."""
    statement = "SELECT json_extract(value, '$.micros') FROM cursor WHERE name LIKE 'clock/trusted/%'"
    found = {}
    for name in SUBSYSTEMS:
        with closing(opened(mesh.database(name))) as connection:
            found[name] = connection.execute(statement).fetchone()[0] / 1e6
    return found


# --- timers, as they are stored ---


def _signed(database: Path, stream: str) -> int:
    statement = "SELECT count(*) FROM journal WHERE stream = ? AND type LIKE '%.TaskSigned'"
    with closing(opened(database)) as connection:
        return int(connection.execute(statement, (stream,)).fetchone()[0])


def _is_assigned(database: Path, stream: str) -> bool:
    with closing(opened(database)) as connection:
        task = connection.execute("SELECT state FROM stream_task WHERE id = ?", (stream.partition("/")[2],)).fetchone()
    return bool(task[0] == Task.STATE_ASSIGNED)


async def _probes(mesh: Mesh, ahead: float) -> Mapping[str, str]:
    """In each subsystem a timer of no name, due by any clock: nothing follows but that it is gone. Gives its stream."""
    found = {}
    for name, kind in STREAMS.items():
        with closing(opened(mesh.database(name))) as connection, connection:
            row_id, case_id = connection.execute(f"SELECT id, case_id FROM stream_{kind} LIMIT 1").fetchone()  # noqa: S608 - ours
            due_at = int((time.time() + min(0.0, ahead)) * 1e6)
            found[name] = f"{kind}/{row_id}"
            connection.execute("INSERT INTO timer VALUES (?, ?, ?, ?)", (found[name], PROBE, case_id, due_at))
    return found


def _is_gone(mesh: Mesh, name: str, stream: str, timer: str) -> bool:
    statement = "SELECT count(*) FROM timer WHERE stream = ? AND name = ?"
    with closing(opened(mesh.database(name))) as connection:
        return not connection.execute(statement, (stream, timer)).fetchone()[0]


async def _fired(mesh: Mesh, waiting: Mapping[str, str]) -> None:
    for name, stream in waiting.items():
        await until(partial(_is_gone, mesh, name, stream, PROBE), NOTICED_SECONDS, f"a timer at {name} does not fire")
