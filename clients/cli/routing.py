"""`ronghe collaboration route`, `hops`, `summary`: what the three tiers of centers do by hand, and what they watch.

`route` is an act of a center: --as center/<division code> and --officer ID:NAME.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table

from clients.cli.acting import Acting
from clients.cli.collaborations import EventArgument, find_collaboration
from clients.cli.command import command
from clients.cli.errors import Failure
from clients.cli.language import say
from clients.cli.output import Shown, facts, instant, rows, table, word
from ronghe.catalog.v1.catalog_pb2 import Tier
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration, Hop, Task
from ronghe.governance.v1 import governance_service_pb2 as pb

app = typer.Typer()

PAGE = 500


@command(app, "route")
async def route(
    acting: Acting,
    event: EventArgument,
    to: Annotated[
        str, typer.Option(metavar="organ/ID|center/ID", help="Who gets it: an organ to act, or a center to decide.")
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why there.")],
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK", help="Which task; if absent, the one that waits for an officer.", show_default=False
        ),
    ] = None,
) -> None:
    """Route a task by hand (人工派遣): one that waits for an officer, or one that belongs elsewhere.

    `ronghe collaboration list --waiting-at CENTER` lists what waits. An organ that has the task loses it.
    """
    center, signer = acting.center, acting.signer
    request = pb.RouteCollaborationRequest(actor=signer, reason=reason)
    _set_receiver(request, to)
    async with acting.governance(center) as client:
        found = await find_collaboration(client, event)
        request.collaboration_id, request.task_id = found.collaboration_id, task or _waiting(found, center.id)
        response = await client.route_collaboration(request)
    acting.show(response, lambda: [_table(response.hops), facts([("version", response.version)])])


@command(app, "hops")
async def list_hops(acting: Acting, event: EventArgument) -> None:
    """Show which way each task went through the centers, for centers, operators and auditors.

    An organ that asked sees the way in `ronghe collaboration show`.
    """
    response = pb.ListHopsResponse()
    async with acting.governance(acting.reader) as client:
        request = pb.ListHopsRequest(page_size=PAGE)
        request.collaboration_id = (await find_collaboration(client, event)).collaboration_id
        while True:
            page = await client.list_hops(request)
            response.hops.extend(page.hops)
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
    acting.show(response, lambda: _hops(response.hops))


@command(app, "summary")
async def summary(
    acting: Acting,
    center: Annotated[
        str, typer.Option(metavar="CENTER", help="Whose; the acting center if absent, for others the city's.")
    ] = "",
) -> None:
    """Count what organs of a center's division and below it asked: by state, tier and organ."""
    async with acting.governance(acting.reader) as client:
        response = await client.get_summary(pb.GetSummaryRequest(center_id=center))
    acting.show(response, lambda: _summary(response))


def _set_receiver(request: pb.RouteCollaborationRequest, to: str) -> None:
    kind, _, name = to.partition("/")
    if kind not in ("organ", "center") or not name:
        raise Failure("--to is organ/<id> or center/<division code>, and {text!r} is neither", text=to)
    setattr(request, f"{kind}_id", name)


def _waiting(found: Collaboration, center: str) -> str:
    """The task that waits for an officer: of this center where one does, else of one below it."""
    waiting = [task for task in found.tasks if task.state == Task.STATE_WAITING_FOR_OFFICER]
    candidates = [task.task_id for task in waiting if task.waiting_at == center] or [task.task_id for task in waiting]
    if len(candidates) != 1:
        many = say("several tasks wait") if candidates else say("no task waits")
        raise Failure("{many} for an officer: say which one to route with --task TASK", many=many)
    return candidates[0]


def _hops(found: Sequence[pb.TaskHop]) -> Shown:
    """A table for each task: the hops of several tasks are mixed in the answer."""
    shown: list[RenderableType] = []
    for task in dict.fromkeys(each.task_id for each in found):
        shown += [say("task {task}", task=task), _table(each.hop for each in found if each.task_id == task)]
    return shown or [say("no task has been routed yet")]


def _table(hops: Iterable[Hop]) -> Table:
    return rows(table("hop", "from", "to", "why", "at", "remark", whole=("at",)), map(_hop, hops))


def _hop(hop: Hop) -> Sequence[object]:
    remark = ": ".join(filter(None, (hop.officer.name, hop.remark)))
    return hop.number, getattr(hop, "from"), hop.to, word(Hop.Reason, hop.reason), instant(hop.at), remark


def _summary(response: pb.GetSummaryResponse) -> Shown:
    collaborations = [(word(Collaboration.State, each.state), each.count) for each in response.collaborations_by_state]
    tiers = [(word(Tier, each.tier), each.count) for each in response.collaborations_by_tier]
    tasks = [(word(Task.State, each.state), each.count) for each in response.tasks_by_state]
    organs = [(each.organ_id, each.count) for each in response.open_tasks_by_organ]
    counted = [
        rows(table("collaborations", "count#"), collaborations),
        rows(table("coordinated by tier", "count#"), tiers),
        rows(table("tasks", "count#"), tasks),
        rows(table("open tasks of", "count#"), organs),
    ]
    return [f"center/{response.center_id}", *(each for each in counted if each.row_count)]
