"""`ronghe collaboration request`, `recall`: the lead asks others about a case, and takes it back.

Each act is signed: --as organ/<id> and --officer ID:NAME.
"""

from collections.abc import Sequence
from typing import Annotated

import typer

from clients.cli.acting import Acting
from clients.cli.asking import case_id_of
from clients.cli.case_acts import IfVersion, reached
from clients.cli.collaborations import EventArgument, find_collaboration
from clients.cli.command import CaseArgument, command
from clients.cli.errors import Failure, no_choice
from clients.cli.language import say
from clients.cli.output import Shown, facts
from clients.cli.values import choice, words
from ronghe.catalog.v1.catalog_pb2 import COLLABORATION_KIND_OVERSIGHT, CollaborationKind, Tier
from ronghe.collaboration.v1 import collaboration_pb2
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb

app = typer.Typer()

COMPLETIONS = {
    "all": collaboration_pb2.COMPLETION_ALL_MUST_ANSWER,
    "lead-decides": collaboration_pb2.COMPLETION_LEAD_DECIDES,
}
KINDS = [each for each in words(CollaborationKind) if each != "oversight"]


@command(app, "request")
async def request_collaboration(
    acting: Acting,
    case: CaseArgument,
    rule: Annotated[
        list[str], typer.Option(metavar="RULE", help="A collaborator rule of the item, to be followed; repeatable.")
    ] = [],  # noqa: B006 - typer copies it
    ask: Annotated[
        list[str],
        typer.Option(
            metavar="DEPARTMENT@TIER|ORGAN",
            help="Somebody beyond the rules, for example FIRE@district or fire-500106; repeatable.",
        ),
    ] = [],  # noqa: B006
    kind: Annotated[str | None, typer.Option(metavar="KIND", help=f"With --ask: {', '.join(KINDS)}.")] = None,
    question: Annotated[
        str, typer.Option(metavar="TEXT", help="What is asked; without it each rule asks for its own reason.")
    ] = "",
    days: Annotated[
        int | None, typer.Option(min=1, max=30, help="With --ask: working days to reply.", show_default=False)
    ] = None,
    disclose: Annotated[
        list[str],
        typer.Option(metavar="FIELD", help="With --ask: a form field they may see, none personal; repeatable."),
    ] = [],  # noqa: B006
    completion: Annotated[
        str,
        typer.Option(
            metavar="|".join(COMPLETIONS),
            help="all: the decision waits for every answer; lead-decides: it comes when the lead has enough.",
        ),
    ] = "all",
    if_version: IfVersion = 0,
) -> None:
    """Ask others about an accepted case (提出协同): by --rule of its item, by --ask beyond the rules, or both.

    A rule knows what it asks and discloses; --ask needs --kind, --question and --days too.
    """
    organ, signer = acting.department(), acting.signer
    if not rule and not ask:
        raise Failure("say whom to ask with --rule RULE or --ask DEPARTMENT@TIER or --ask ORGAN")
    if completion not in COMPLETIONS:
        raise no_choice("--completion", COMPLETIONS, completion)
    request = pb.RequestCollaborationRequest(
        actor=signer,
        if_version=if_version,
        rules=rule,
        others=_others(ask, kind, question, days, disclose),
        completion=COMPLETIONS[completion],
        question=question,
    )
    async with organ as client:
        request.case_id = await case_id_of(client, case)
        response = await client.collaborations.request_collaboration(request)
    acting.show(response, lambda: _requested(response, acting))


@command(app, "recall")
async def recall_collaboration(
    acting: Acting,
    event: EventArgument,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why.")],
    if_version: IfVersion = 0,
) -> None:
    """Take a collaboration back (撤销协同): its open tasks are recalled, unless all were answered by then."""
    organ, signer = acting.department(), acting.signer
    async with organ as client:
        found = await find_collaboration(client, event)
        response = await client.collaborations.recall_collaboration(
            pb.RecallCollaborationRequest(
                actor=signer,
                case_id=found.case_id,
                if_version=if_version,
                collaboration_id=found.collaboration_id,
                reason=reason,
            )
        )
    acting.show(response, lambda: reached(response.version))


def _others(
    who: Sequence[str], kind: str | None, question: str, days: int | None, disclosed: Sequence[str]
) -> Sequence[pb.RequestCollaborationRequest.Other]:
    if not who:
        if kind or days or disclosed:
            raise Failure("--kind, --days and --disclose go with --ask: a rule has its own")
        return []
    if not kind or not question or not days:
        raise Failure("--ask needs --kind, --question and --days too")
    asked = choice(CollaborationKind, "--kind", kind)
    if asked == COLLABORATION_KIND_OVERSIGHT:
        raise no_choice("--kind", KINDS, kind)
    return [_other(each, asked, question, days, disclosed) for each in who]


def _other(
    who: str, kind: "CollaborationKind.ValueType", question: str, days: int, disclosed: Sequence[str]
) -> pb.RequestCollaborationRequest.Other:
    other = pb.RequestCollaborationRequest.Other(kind=kind, question=question, reply_days=days, discloses=disclosed)
    department, at, tier = who.partition("@")
    if at:
        other.department, other.tier = department, choice(Tier, "the tier of --ask", tier)
    else:
        other.organ_id = who
    return other


def _requested(response: pb.RequestCollaborationResponse, acting: Acting) -> Shown:
    summary = [("collaboration", response.collaboration_id), ("round", response.round), ("version", response.version)]
    return [
        facts(summary),
        acting.further(
            say("the center will give it its number"), f"ronghe collaboration show {response.collaboration_id}"
        ),
    ]
