"""Those who are asked say nothing, until time speaks for them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import partial

from faults.injections.days import clocks_advance, opened
from faults.injections.processes import killed
from faults.injections.stage import LOOK_SECONDS, NotInjected, Stage, until
from faults.load.case import Case
from faults.load.cast import SIGNS
from faults.load.courses import unanswered

CASES = 3
KILL_SECONDS = 2.0
"""Within which the process is killed once a timer is due: they are looked at every second."""
TIMER_SECONDS = 60.0
BY_TIME = ("TaskReminded", "OpinionDeemed", "TaskOverdue")


async def silent(stage: Stage) -> None:
    """Days pass until time has signed, reminded, agreed where a document says so, and pressed where none does.

    The process in which timers fall due is killed each time, before they do their work, meanwhile, or after it.
    """
    load = stage.load
    cases = [Case(next(load.extra), SIGNS, load.cast) for _ in range(CASES)]
    playing = [load.begin(case, unanswered) for case in cases]
    while not all(each.done() for each in playing):
        due_at = _first_due(stage, cases)
        if due_at is None:
            await asyncio.sleep(LOOK_SECONDS)
            continue
        await clocks_advance(stage, "department", due_at)
        await asyncio.sleep(stage.chance.uniform(0, KILL_SECONDS))
        await killed("department")(stage)
        await until(partial(_have_worked, stage, cases, due_at), TIMER_SECONDS, "timers that are due do their work")
    said = _said(stage, cases)
    stage.figures |= {f"by time: {name}": said[name] for name in BY_TIME}
    missing = [name for name in BY_TIME if said[name] < CASES]
    if missing:
        raise NotInjected(f"time has not said {', '.join(missing)} in each of the cases")


def _have_worked(stage: Stage, cases: Sequence[Case], due_at: float) -> bool:
    return _first_due(stage, cases) != due_at


def _first_due(stage: Stage, cases: Sequence[Case]) -> float | None:
    """When the first timer of these cases falls due, seconds since 1970; None while there is none."""
    with closing(opened(stage.mesh.database("department"))) as connection:
        found = [
            connection.execute("SELECT min(due_at) FROM timer WHERE case_id = ?", (case.case_id,)).fetchone()[0]
            for case in cases
        ]
    return min((due_at / 1e6 for due_at in found if due_at), default=None)


def _said(stage: Stage, cases: Sequence[Case]) -> Counter[str]:
    """What the facts of these cases are called."""
    with closing(opened(stage.mesh.database("department"))) as connection:
        return Counter(
            name.rpartition(".")[2]
            for case in cases
            for (name,) in connection.execute("SELECT type FROM journal WHERE case_id = ?", (case.case_id,))
        )
