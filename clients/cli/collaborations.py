"""`ronghe collaboration list`, `show`: how the collaborations stand that the acting party may see."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.table import Table

from clients.cli import briefs
from clients.cli.acting import Acting
from clients.cli.asking import case_id_of, id_in
from clients.cli.command import command
from clients.cli.language import say
from clients.cli.output import Shown, facts, moment, table, word
from clients.cli.values import choice, words
from clients.subsystem import SubsystemClient
from ronghe.catalog.v1.catalog_pb2 import Tier
from ronghe.collaboration.v1 import collaboration_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration, Task

app = typer.Typer()

EventArgument = Annotated[str, typer.Argument(metavar="EVENT", help="Event number or id of the collaboration.")]


async def find_collaboration(client: SubsystemClient, name: str) -> Collaboration:
    """The collaboration of this event number or id. Raises RongheError: COLLABORATION_NOT_FOUND."""
    own_id = id_in(name)
    request = (
        pb.GetCollaborationRequest(collaboration_id=own_id) if own_id else pb.GetCollaborationRequest(event_no=name)
    )
    return (await client.collaborations.get_collaboration(request)).collaboration


@command(app, "list")
async def list_collaborations(
    acting: Acting,
    state: Annotated[str | None, typer.Option(metavar="STATE", help=", ".join(words(Collaboration.State)))] = None,
    case: Annotated[str | None, typer.Option(metavar="CASE", help="Only of this case, by number or id.")] = None,
    lead: Annotated[str, typer.Option(metavar="ORGAN", help="Only what this organ asked.")] = "",
    waiting_at: Annotated[
        str, typer.Option(metavar="CENTER", help="Only with a task that waits for an officer of this center.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="Collaborations on a page.")] = 50,
    page_token: Annotated[str, typer.Option(metavar="TOKEN", help="Go on where an earlier page ended.")] = "",
) -> None:
    """List collaborations, newest first: those the acting party may see."""
    request = pb.ListCollaborationsRequest(
        state=choice(Collaboration.State, "--state", state),
        lead_id=lead,
        waiting_at=waiting_at,
        page_size=limit,
        page_token=page_token,
    )
    async with acting.subsystem(None, acting.reader) as client:
        if case is not None:
            request.case_id = await case_id_of(client, case)
        response = await client.collaborations.list_collaborations(request)
    acting.show(response, lambda: _listed(response))


@command(app, "show")
async def show_collaboration(acting: Acting, event: EventArgument) -> None:
    """Show a collaboration: how it stands, who was asked, which way each task went, who said what."""
    async with acting.subsystem(None, acting.reader) as client:
        found = await find_collaboration(client, event)
    acting.show(pb.GetCollaborationResponse(collaboration=found), lambda: _shown(found))


def _listed(response: pb.ListCollaborationsResponse) -> Shown:
    made = table("event", "state", "item", "asked by", "answered", "by", whole=("item", "by"))
    for found in response.collaborations:
        name, state = found.event_no or found.collaboration_id, word(Collaboration.State, found.state)
        made.add_row(name, state, found.item_code, found.lead.id, _answered(found), briefs.due(found.due))
    more = response.next_page_token
    return [made, say("more with --page-token {token}", token=more)] if more else [made]


def _answered(found: Collaboration) -> str:
    if not found.tasks:
        return ""
    answered = sum(task.state == Task.STATE_ANSWERED for task in found.tasks)
    return say("{count} of {all}", count=answered, all=len(found.tasks))


def _shown(found: Collaboration) -> Shown:
    return [_summary(found), *_asks(found), *(part for task in found.tasks for part in ("", _task(task)))]


def _summary(found: Collaboration) -> Table:
    return facts(
        [
            ("event", found.event_no),
            ("id", found.collaboration_id),
            ("state", word(Collaboration.State, found.state)),
            ("case", say("{number}, round {round}", number=found.case_no, round=found.round)),
            ("asked by", briefs.organ(found.lead)),
            ("requested", briefs.signature(found.requested_by, moment(found.requested_at))),
            ("item", f"{found.item_code} {found.item_name}"),
            ("category", briefs.category(found.category)),
            ("place", briefs.places(found.places)),
            ("description", found.description),
            ("receipt", found.receipt.number),
            ("completion", word(collaboration_pb2.Completion, found.completion)),
            ("coordinated by", f"center/{found.center_id}, {word(Tier, found.tier)}" if found.center_id else ""),
            ("opened", moment(found.opened_at)),
            ("answers by", briefs.due(found.due)),
            ("ended", moment(found.ended_at)),
            ("recalled", found.recall_reason),
            ("version", found.version),
        ]
    )


def _asks(found: Collaboration) -> Iterator[str]:
    """Whom the lead asks, while the center has not made tasks of it."""
    if found.tasks:
        return
    for ask in found.asks:
        who = ask.organ_id or f"{ask.department}@{word(Tier, ask.tier)}"
        yield say("asks {who} ({kind}): {question}", who=who, kind=briefs.kind(ask.kind), question=ask.question)


def _task(task: Task) -> Table:
    brief = task.brief
    by_law = f", {say('required by law')}" if brief.required else ""
    return facts(
        [
            ("task", task.task_id),
            ("state", word(Task.State, task.state)),
            ("organ", briefs.organ(task.organ)),
            ("kind", f"{briefs.kind(brief.kind)}{by_law}"),
            ("rule", brief.rule),
            ("place", briefs.places(brief.places)),
            ("question", brief.question),
            ("way", _way(task)),
            *(("returned", _returned(each)) for each in task.assignments if each.return_reason),
            ("waits", _waits(task)),
            ("signed", briefs.signature(task.signed_by, moment(task.signed_at))),
            ("answer by", briefs.due(task.reply_due)),
            *briefs.in_full(task),
            ("recalled", task.recall_reason),
        ]
    )


def _waits(task: Task) -> str:
    if not task.waiting_at:
        return ""
    return say("at center/{center}: {why}", center=task.waiting_at, why=task.waiting_because)


def _way(task: Task) -> str:
    """Everyone who had it, in order."""
    if not task.hops:
        return ""
    return " > ".join([getattr(task.hops[0], "from"), *(hop.to for hop in task.hops)])


def _returned(assignment: collaboration_pb2.Assignment) -> str:
    returned = say("by {organ}: {why}", organ=assignment.organ.id, why=assignment.return_reason)
    if not assignment.suggested_organ_id:
        return returned
    return f"{returned}; {say('it suggests {organ}', organ=assignment.suggested_organ_id)}"
