"""`ronghe catalog preview`: who would be asked about an application, before anybody hands it in."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from rich.table import Table

from clients.cli import briefs
from clients.cli.acting import Acting
from clients.cli.command import command
from clients.cli.language import say
from clients.cli.output import Shown, facts, rows, table
from clients.cli.values import form_values
from ronghe.catalog.v1 import catalog_service_pb2 as pb
from ronghe.catalog.v1.catalog_pb2 import Collaborator, Place, ServiceItem

app = typer.Typer()


@command(app, "preview")
async def preview(
    acting: Acting,
    code: Annotated[str, typer.Argument(metavar="ITEM", help="The service item, for example IT-001.")],
    division: Annotated[str, typer.Option(metavar="CODE", help="The division that would handle the application.")],
    place: Annotated[
        list[str],
        typer.Option(
            metavar="CODE", help="A division where it takes effect; repeatable, the handling one if there is none."
        ),
    ] = [],  # noqa: B006 - typer copies it
    field: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=VALUE",
            help="An answer of the form, as far as they are known; `ronghe catalog show ITEM` lists them; repeatable.",
        ),
    ] = [],  # noqa: B006
) -> None:
    """Show who would be asked about an application (协办), by which rule, and what their silence would mean.

    Nothing is handed in. Personal answers of the form are not sent: no rule may use them.
    """
    async with acting.subsystem(None, acting.reader) as client:
        item = (await client.catalog.get_service_item(pb.GetServiceItemRequest(code=code))).item
        request = pb.PreviewCollaboratorsRequest(
            item_code=code,
            item_version=item.version,
            division=division,
            places=[Place(division=each) for each in place],
            form=form_values(item.form, field)[0],
        )
        response = await client.catalog.preview_collaborators(request)
    acting.show(response, lambda: _shown(item, response))


def _shown(item: ServiceItem, response: pb.PreviewCollaboratorsResponse) -> Shown:
    summary = facts([("item", f"{item.code} {item.name}"), ("lead", briefs.organ(response.lead))])
    if not response.collaborators:
        return [summary, "", say("Nobody has to be asked: no rule of the item applies to this form and place.")]
    return [summary, "", _who(response.collaborators), "", _why(response.collaborators)]


def _who(collaborators: Sequence[pb.ProposedCollaborator]) -> Table:
    made = table("rule", "kind", "required", "who would be asked", "reply within", whole=("kind", "required"))
    return rows(
        made,
        [
            (
                each.rule.id,
                briefs.kind(each.rule.kind),
                say("by law") if each.required else "",
                "\n".join(_asked(each)),
                briefs.limit(each.rule.reply_limit),
            )
            for each in collaborators
        ],
    )


def _why(collaborators: Sequence[pb.ProposedCollaborator]) -> Table:
    made = table("rule", "department", "silence", "why", whole=("department",))
    lines = [
        (each.rule.id, each.rule.department, briefs.silence(each.rule), _reason(each.rule)) for each in collaborators
    ]
    return rows(made, lines)


def _asked(proposed: pb.ProposedCollaborator) -> Iterable[str]:
    yield from (briefs.organ(each) for each in proposed.organs)
    for division in proposed.unresolved_divisions:
        yield say("{division}: no organ, or several; an officer of a center decides", division=division)


def _reason(rule: Collaborator) -> str:
    reason = f"{rule.when.text}: {rule.reason}" if rule.when.text else rule.reason
    return f"{reason} ({rule.basis})" if rule.basis else reason
