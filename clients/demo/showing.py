"""One case in full: what happened and who said what, the way of its questions, its trace."""

import asyncio
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from clients.cli.output import table, word
from clients.demo.shared import SharedStory
from clients.demo.stage import Stage
from clients.demo.story import Story
from clients.governance import GovernanceClient
from clients.identity import Identity
from clients.telemetry import trace_id
from clients.telemetry.store import read_trace
from clients.telemetry.tree import print_tree
from clients.timeline import depth_of, fact_of, said
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.catalog.v1.catalog_pb2 import Tier
from ronghe.collaboration.v1.collaboration_pb2 import Hop
from ronghe.event.v1.event_pb2 import Decided
from ronghe.governance.v1.governance_service_pb2 import ListHopsRequest, TaskHop

EVENT = "ronghe.event.v1."
# Spans are exported in the background: a moment until those of the last case are in the store.
SPANS_SECONDS = 1.5
WIDTH = 120


async def show_case(console: Console, stage: Stage, story: Story) -> None:
    """Its timeline at the center, its hops, and its trace as a tree; moments are seconds since its submission."""
    console.print(f"\ncase {story.case_no}: {story.ending.value.title}")
    async with GovernanceClient(stage.addresses["governance"], stage.pki, Identity("operator", "local")) as operator:
        request = cases.GetCaseTimelineRequest(case_id=story.case_id)
        timeline = (await operator.cases.get_case_timeline(request)).entries
        console.print(_timeline(timeline))
        for decided in story.intake.facts(Decided):
            console.print("\n".join(["\nthe decision says", *decided.decision.opinions, *decided.decision.conditions]))
        if isinstance(story, SharedStory) and story.collaboration_id:
            console.print()
            hops = await operator.list_hops(ListHopsRequest(collaboration_id=story.collaboration_id, page_size=500))
            console.print(_hops(hops.hops, timeline[0].occurred_at))
    await asyncio.sleep(SPANS_SECONDS)
    _show_trace(console, stage, story)


def _timeline(entries: Sequence[cases.TimelineEntry]) -> Table:
    """The steps of the ways stand in the table of hops."""
    made = table("s#", "what the center recorded", "says")
    for entry in entries:
        if entry.type != "TaskRouted":
            fact, moment = fact_of(entry), _seconds(entries[0].occurred_at, entry.recorded_at)
            made.add_row(moment, "  " * depth_of(fact) + entry.type, said(fact))
    return made


def _hops(hops: Sequence[TaskHop], start: Timestamp) -> Table:
    made = table("s#", "##", "from", "to", "tier", "reason", whole=("from", "to"))
    numbers: dict[str, int] = {}
    for each in hops:
        hop, number = each.hop, numbers.setdefault(each.task_id, len(numbers) + 1)
        ends = [end.removeprefix("organ/") for end in (getattr(hop, "from"), hop.to)]
        reason = word(Hop.Reason, hop.reason)
        made.add_row(_seconds(start, hop.at), str(number), *ends, word(Tier, hop.tier), reason)
    return made


def _seconds(start: Timestamp, moment: Timestamp) -> str:
    return f"{(moment.ToNanoseconds() - start.ToNanoseconds()) / 1e9:.3f}"


def _show_trace(console: Console, stage: Stage, story: Story) -> None:
    """Of the spans only those of the events: each hangs below the event that caused it."""
    spans = read_trace(stage.data / "spans", trace_id(story.case_id))
    events = [span for span in spans if span.name.startswith(EVENT)]
    console.print(f"\nits trace: {len(events)} events")
    # Long chains of causes are broken by the terminal, where it is narrow, and not by the tree.
    print_tree(Console(highlight=False, emoji=False, width=max(console.width, WIDTH)), events)
    console.print(f"left out here are {len(spans) - len(events)} spans of sending and delivering them, see")
    console.print(f"ronghe trace {story.case_id}")
