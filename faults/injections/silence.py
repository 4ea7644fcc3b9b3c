"""Those who are asked say nothing, until time speaks for them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from faults.injections.days import clocks_advance, opened
from faults.injections.processes import killed
from faults.injections.stage import NotInjected, Stage
from faults.load.case import Case
from faults.load.cast import SIGNS
from faults.load.courses import unanswered
from ronghe.event.v1.event_pb2 import TaskSigned

CASES = 3
ASKED_SECONDS = 60.0
KILL_SECONDS = 2.0
"""Within which the process is killed once a timer is due: they are looked at every second."""
TIMER_SECONDS = 60.0
LOOK_SECONDS = 0.2
BY_TIME = ("TaskSigned", "TaskReminded", "OpinionDeemed", "TaskOverdue")
"""What it says in each of these cases."""


async def silent(stage: Stage) -> None:
    """Days pass until time has signed, reminded, agreed where a document says so, and pressed where none does.

    The process in which timers fall due is killed each time, before they do their work, meanwhile, or after it.
    """
    load = stage.load
    cases = [Case(next(load.extra), SIGNS, load.cast) for _ in range(CASES)]
    playing = [load.begin(case, unanswered) for case in cases]
    try:
        await _until(lambda: all(_first_due(stage, [case]) for case in cases), ASKED_SECONDS, "nobody is asked")
        while not all(each.done() for each in playing):
            await _time_passes(stage, cases)
    finally:
        for each in playing:  # where it failed nothing waits for them
            each.cancel()
    said = await asyncio.to_thread(_said_by_time, stage, cases)
    stage.figures |= {f"by time: {name}": said.total() for name, said in said.items()}
    missing = [name for name, each in said.items() if len(each) < CASES]
    if missing:
        raise NotInjected(f"time has not said {', '.join(missing)} in each of the cases")


async def _time_passes(stage: Stage, cases: Sequence[Case]) -> None:
    """To when something is due next, if anything is."""
    due_at = await asyncio.to_thread(_first_due, stage, cases)
    if due_at is None:
        await asyncio.sleep(LOOK_SECONDS)
        return
    await clocks_advance(stage, "department", due_at)
    await asyncio.sleep(stage.chance.uniform(0, KILL_SECONDS))
    await killed("department")(stage)
    await _until(lambda: _first_due(stage, cases) != due_at, TIMER_SECONDS, "timers that are due do not do their work")


async def _until(holds: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Return when it holds, which the database says. Raises NotInjected."""
    try:
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - it is looked at from outside
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError as error:
        raise NotInjected(f"{otherwise} within {seconds:.0f} s") from error


def _first_due(stage: Stage, cases: Sequence[Case]) -> float | None:
    """When the first timer of these cases falls due, seconds since 1970; None while there is none."""
    with closing(opened(stage.mesh.database("department"))) as connection:
        found = [
            connection.execute("SELECT min(due_at) FROM timer WHERE case_id = ?", (case.case_id,)).fetchone()[0]
            for case in cases
        ]
    return min((due_at / 1e6 for due_at in found if due_at), default=None)


def _said_by_time(stage: Stage, cases: Sequence[Case]) -> Mapping[str, Counter[str]]:
    """Name of a fact -> how often time has said it, by case."""
    said = {name: Counter[str]() for name in BY_TIME}
    with closing(opened(stage.mesh.database("department"))) as connection:
        for case in cases:
            for name, body in connection.execute("SELECT type, body FROM journal WHERE case_id = ?", (case.case_id,)):
                short = name.rpartition(".")[2]
                if short in said and not (short == "TaskSigned" and TaskSigned.FromString(body).HasField("officer")):
                    said[short][case.case_id] += 1
    return said
