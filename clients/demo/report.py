"""What the demo shows at its end."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC
from statistics import quantiles

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from clients.demo.plan import Ending
from clients.demo.stage import Stage
from clients.demo.story import Story
from clients.identity import Identity
from clients.subsystem import SubsystemClient
from clients.telemetry import trace_id
from clients.telemetry.store import read_trace
from clients.telemetry.tree import print_tree
from ronghe.case.v1 import case_service_pb2 as cases


def show_outcomes(console: Console, stories: Sequence[Story]) -> None:
    """One row for each ending: planned, ended so, missed."""
    table = Table(title="outcomes", title_justify="left")
    for heading in ("planned ending", "cases", "ended so", "missed"):
        table.add_column(heading, justify="left" if heading == "planned ending" else "right")
    for ending in Ending:
        planned = [story for story in stories if story.ending is ending]
        missed = [story for story in planned if story.problem]
        table.add_row(ending.value.title, str(len(planned)), str(len(planned) - len(missed)), str(len(missed)))
    console.print(table)
    for problem, count in Counter(story.problem for story in stories if story.problem).most_common(5):
        console.print(f"[red]{count} x {problem}")


def show_reach(console: Console, stories: Sequence[Story]) -> None:
    """How many organs, divisions, items and channels took part."""
    organs = {story.desk.organ.id for story in stories}
    divisions = {story.desk.division for story in stories}
    items = {story.desk.item.code for story in stories}
    channels = {story.request.channel for story in stories}
    console.print(
        f"{len(stories)} applications for {len(items)} items, from {len(channels)} kinds of terminal, "
        f"to {len(organs)} organs in {len(divisions)} divisions"
    )


def show_latencies(console: Console, stories: Sequence[Story]) -> None:
    """From the submission until intake knew."""
    table = Table(title="latencies, milliseconds", title_justify="left")
    for heading in ("from the submission until", "count", "p50", "p99"):
        table.add_column(heading, justify="left" if heading.startswith("from") else "right")
    _row(table, "the voucher is given", [story.submit_seconds for story in stories if story.case_id])
    for fact, title in (
        ("Accepted", "intake has the acceptance receipt"),
        ("AcceptanceRefused", "intake has the refusal of acceptance"),
        ("Decided", "intake has the decision"),
    ):
        _row(table, title, [story.seen[fact] for story in stories if fact in story.seen])
    console.print(table)


def _row(table: Table, title: str, seconds: Sequence[float]) -> None:
    if len(seconds) < 2:
        return
    cuts = quantiles(seconds, n=100)
    table.add_row(title, str(len(seconds)), f"{cuts[49] * 1000:.0f}", f"{cuts[98] * 1000:.0f}")


async def show_case(console: Console, stage: Stage, story: Story) -> None:
    """The timeline and the trace of one case."""
    async with SubsystemClient(stage.addresses["governance"], stage.pki, Identity("operator", "local")) as operator:
        timeline = await operator.cases.get_case_timeline(cases.GetCaseTimelineRequest(case_id=story.case_id))
    table = Table(title=f"case {story.case_no}: {story.ending.value.title}", title_justify="left")
    for heading in ("event", "decided by", "occurred at", "recorded at the center"):
        table.add_column(heading)
    for entry in timeline.entries:
        table.add_row(entry.type, entry.origin, _clock(entry.occurred_at), _clock(entry.recorded_at))
    console.print(table)
    console.print(f"trace {trace_id(story.case_id):032x}")
    print_tree(console, read_trace(stage.data / "spans", trace_id(story.case_id)))


def _clock(moment: Timestamp) -> str:
    return f"{moment.ToDatetime(UTC).astimezone():%H:%M:%S.%f}"[:-3]
