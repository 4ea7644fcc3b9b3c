"""`ronghe trace`: a case's trace from the local span store."""

from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console

from clients.cli.acting import Acting
from clients.cli.asking import case_id_of, id_in, timeline_of
from clients.cli.command import CaseArgument, command
from clients.cli.errors import Failure, note
from clients.cli.language import say
from clients.cli.output import show_plain_json
from clients.errors import RongheError
from clients.filling import filled
from clients.telemetry import trace_id
from clients.telemetry.spans import Span
from clients.telemetry.store import read_trace
from clients.telemetry.tree import faults, print_tree
from ronghe.case.v1.case_service_pb2 import TimelineEntry

app = typer.Typer()


@command(app, "trace")
async def trace(acting: Acting, case: CaseArgument) -> None:
    """Show the trace of a case as a tree: every hop, from the submission on.

    Spans are read from the data directory; a case id needs no running mesh, a number is looked up in it. Where a mesh
    runs, spans that died with their process are filled in from its journal.
    """
    folder = acting.data / "spans"
    case_id = await _case_id(acting, case)
    spans = read_trace(folder, trace_id(case_id))
    if spans:
        spans = filled(spans, await _entries(acting, case_id), trace_id(case_id))
    else:
        raise Failure(
            "no spans of this case are in {folder}: too old, not sampled, or sent to a collector", folder=folder
        )
    if acting.json:
        show_plain_json([_to_json(span) for span in spans])
    else:
        print_tree(Console(highlight=False, emoji=False), spans)
    for found in faults(spans):
        note(say("the trace is not whole: {what}", what=found))


async def _entries(acting: Acting, case_id: str) -> Sequence[TimelineEntry]:
    """What happened in the case, as the center has it; nothing where no mesh runs."""
    try:
        async with acting.subsystem(None, acting.reader) as client:
            return await timeline_of(client, case_id)
    except (RongheError, Failure):
        return ()


async def _case_id(acting: Acting, case: str) -> str:
    """An id is enough by itself; a number has to be looked up."""
    if found := id_in(case):
        return found
    async with acting.subsystem(None, acting.reader) as client:
        return await case_id_of(client, case)


def _to_json(span: Span) -> dict[str, Any]:
    return {
        "name": span.name,
        "service": span.service,
        "kind": span.kind,
        "span_id": f"{span.context.span_id:016x}",
        "parent": None if span.parent is None else f"{span.parent:016x}",
        "start_ns": span.start_ns,
        "end_ns": span.end_ns,
        "attributes": dict(span.attributes),
        "links": [{"trace_id": f"{each.trace_id:032x}", "span_id": f"{each.span_id:016x}"} for each in span.links],
        "error": span.error,
    }
