"""`ronghe demo`."""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from clients.demo.courses import Shared
from clients.demo.report import show_latencies, show_outcomes, show_reach
from clients.demo.run import play
from clients.demo.showing import show_case
from clients.demo.stage import Stage, StageError, stage
from clients.demo.story import Story


def run(data: Path, count: int, port_base: int | None) -> int:
    """Play `count` cases on the mesh of this data directory; 0 when every one ended as planned."""
    console = Console(markup=False, highlight=False, emoji=False)
    try:
        with stage(data, port_base) as here:
            return asyncio.run(_run(console, here, count))
    except StageError as error:
        sys.stderr.write(f"{error}\n")
        return 1


async def _run(console: Console, here: Stage, count: int) -> int:
    started = time.monotonic()
    with _progress(console) as progress:
        task = progress.add_task("cases that have ended", total=count)
        stories = await play(here, count, lambda story: progress.advance(task))
    console.print(f"{count} cases in {time.monotonic() - started:.1f} s")
    show_reach(console, stories)
    show_outcomes(console, stories)
    show_latencies(console, stories)
    shown = _shown(stories)
    if shown.case_id:
        await show_case(console, here, shown)
    console.print(f"data: {here.data}: db (journals), kafka (topic), spans, log")
    return 1 if any(story.problem for story in stories) else 0


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def _shown(stories: Sequence[Story]) -> Story:
    """A case with much to see, that went well where one did."""
    return min(stories, key=lambda story: (bool(story.problem), story.ending is not Shared.NOT_MY_DUTY))
