"""`ronghe inbox`: what a subsystem has for the acting party."""

from collections.abc import Sequence
from typing import Annotated

import typer

from clients.cli.acting import HOMES, Acting
from clients.cli.command import command
from clients.cli.errors import Failure
from clients.cli.language import event, say
from clients.cli.output import Shown, instant, rows, show, show_json_line, table
from clients.inbox import Item
from clients.subsystem import SubsystemClient
from ronghe.inbox.v1 import inbox_service_pb2 as pb

app = typer.Typer()

RECEIVERS = ("organ", "intake", "center")
# The most the contract allows: without acknowledgements no further items come.
CREDIT = 1000


@command(app, "inbox")
async def inbox(
    acting: Acting,
    ack: Annotated[bool, typer.Option("--ack", help="Acknowledge what is shown: it is yours to keep then.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Items at most, without --follow.")] = 100,
) -> None:
    """Show what waits for an organ or an intake system: --as organ/<id> or --as intake/<id>.

    Of each case the first unacknowledged item is shown; the next one comes after its acknowledgement.
    This takes the inbox over from a program that reads it as the same party.
    """
    identity = acting.said
    if identity is None or identity.kind not in RECEIVERS:
        raise Failure("say whose inbox it is: --as organ/<id> or --as intake/<id>")
    async with acting.subsystem(HOMES.get(identity.kind, "governance"), identity) as client:
        if follow:
            await _follow(acting, client, ack=ack)
        else:
            await _fetch(acting, client, limit, ack=ack)


async def _fetch(acting: Acting, client: SubsystemClient, limit: int, *, ack: bool) -> None:
    response = await client.fetch_inbox(pb.FetchInboxRequest(limit=limit))
    acting.show(response, lambda: _shown(response.items))
    if ack and response.items:
        # After it was shown: an item is not lost when the output is.
        await client.ack_inbox(pb.AckInboxRequest(sequences=[item.sequence for item in response.items]))


async def _follow(acting: Acting, client: SubsystemClient, *, ack: bool) -> None:
    async for item in client.inbox(CREDIT):
        _print(acting, item)
        if ack:
            await item.ack()


def _print(acting: Acting, item: Item) -> None:
    if acting.json:
        show_json_line(item.message)
    else:
        show(["  ".join(map(str, _row(item.message)))])


def _shown(items: Sequence[pb.InboxItem]) -> Shown:
    if not items:
        return [say("nothing waits")]
    return [rows(table("seq#", "event", "case id", "since", whole=("event", "case id")), map(_row, items))]


def _row(item: pb.InboxItem) -> tuple[object, ...]:
    name = item.event.fact.type_url.rpartition(".")[2]
    return item.sequence, event(name), item.event.case_id, instant(item.since)
