"""`ronghe settings`, `ronghe acts`: the subsystems' settings, and what operators did."""

from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

from clients.cli.acting import Acting
from clients.cli.asking import ask
from clients.cli.command import AtOption, command
from clients.cli.language import event, say
from clients.cli.output import instant, rows, show, show_json, table
from clients.cli.values import typed
from ronghe.operations.v1 import operations_service_pb2 as pb

app = typer.Typer()


@command(app, "settings")
async def settings(acting: Acting, at: AtOption = None) -> None:
    """Show the settings in force, without secrets; --json is an object by subsystem."""
    answers = await ask(acting, at, lambda client: client.operations.get_settings(pb.GetSettingsRequest()))
    if acting.json:
        show_json(answers)
        return
    lines = [
        (name, each.name, each.value, each.default_value if each.default_value != each.value else "", each.description)
        for name, found in answers.items()
        for each in found.settings
    ]
    show([rows(table("subsystem", "setting", "value", "default", "what it is"), lines)])


@command(app, "acts")
async def acts(
    acting: Acting,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Acts of each subsystem.")] = 50,
    at: AtOption = None,
) -> None:
    """Show what operators did and what was refused to them (运维操作记录), newest first, with who and why."""
    request = pb.ListOperatorActsRequest(page_size=limit)
    answers = await ask(acting, at, lambda client: client.operations.list_operator_acts(request))
    if acting.json:
        show_json(answers)
    elif not any(answer.acts for answer in answers.values()):
        show([say("no operator has acted")])
    else:
        show([rows(table("when", "at", "act", "officer", "because"), _acts(answers))])


def _acts(answers: Mapping[str, pb.ListOperatorActsResponse]) -> Iterator[tuple[object, ...]]:
    found = [(act, name) for name, answer in answers.items() for act in answer.acts]
    for act, name in sorted(found, key=lambda each: each[0].recorded_at.ToNanoseconds(), reverse=True):
        kind = act.request.TypeName().rpartition(".")[2]
        request = getattr(pb, kind)()
        act.request.Unpack(request)
        officer = f"{request.actor.id} {request.actor.name}"
        what = f"{event(kind.removesuffix('Request'))} {_subject(request)}"
        refused = f"\n{say('refused, {why}', why=act.refusal)}" if act.refusal else ""
        yield instant(act.recorded_at), name, what, officer, f"{request.reason}{refused}"


def _subject(request: object) -> str:
    match request:
        case pb.RedriveDeadLetterRequest() | pb.DiscardDeadLetterRequest():
            return say("dead letter {number}", number=request.dead_letter_id)
        case pb.PauseBridgeRequest() | pb.ResumeBridgeRequest():
            return typed(pb.Bridge, request.bridge)
        case pb.AdvanceClockRequest():
            return say("by {seconds} s", seconds=request.by.seconds)
        case pb.RepublishSinceRequest():
            return say("since {when}", when=request.position or instant(request.time))
        case pb.DrainInboxRequest():
            return request.receiver
        case _:
            return ""
