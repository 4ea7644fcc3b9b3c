"""`ronghe case decide`: the decision, and the collaborations on which it rests.

It is signed: --as organ/<id> and --officer ID:NAME.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from clients.cli.acting import Acting
from clients.cli.asking import find_case
from clients.cli.case_acts import Basis, Remedies, issued
from clients.cli.command import CaseArgument, command
from clients.cli.errors import Failure
from clients.cli.language import say
from clients.cli.values import legal_date, pair
from ronghe.case.v1.case_pb2 import Case
from ronghe.collaboration.v1.collaboration_pb2 import Collaboration, Standing
from ronghe.department.v1 import department_service_pb2 as pb

app = typer.Typer()

EVERY = "all"


@command(app, "decide")
async def decide(
    acting: Acting,
    case: CaseArgument,
    grant: Annotated[str | None, typer.Option(metavar="NUMBER", help="Grant: the certificate's number.")] = None,
    valid_from: Annotated[str | None, typer.Option(metavar="DATE", help="The certificate's first day.")] = None,
    valid_to: Annotated[str | None, typer.Option(metavar="DATE", help="Its last day.")] = None,
    condition: Annotated[list[str], typer.Option(metavar="TEXT", help="A condition of the grant; repeatable.")] = [],  # noqa: B006 - typer copies it
    deny: Annotated[list[str], typer.Option(metavar="REASON", help="Deny: why; repeatable.")] = [],  # noqa: B006
    remedies: Remedies = "",
    rely_on: Annotated[
        list[str],
        typer.Option(
            metavar="EVENT|all",
            help="A collaboration that the decision rests on, by event number or id; each that concluded or was "
            "answered must be named, and `all` names them; repeatable.",
        ),
    ] = [],  # noqa: B006
    override: Annotated[
        list[str],
        typer.Option(metavar="TASK=EXPLANATION", help="A disagreement that is not followed, and why; repeatable."),
    ] = [],  # noqa: B006
    basis: Basis = [],  # noqa: B006
    if_version: Annotated[
        int, typer.Option(min=0, help="The version the decision rests on; 0: the case as it is read now.")
    ] = 0,
) -> None:
    """Decide (审批决定): grant with --grant, or deny with --deny and --remedies; prints the decision's number.

    `ronghe case show` has the collaborations and their tasks.
    """
    organ, signer = acting.department(), acting.signer
    request = pb.DecideApplicationRequest(actor=signer, basis=basis, overrides=[_override(text) for text in override])
    if (grant is None) == (not deny):
        raise Failure("either --grant NUMBER or --deny REASON decides")
    if grant is not None:
        request.granted.CopyFrom(_granted(grant, valid_from, valid_to, condition))
    else:
        request.denied.reasons.extend(deny)
        request.denied.remedies = remedies
    async with organ as client:
        found = await find_case(client, case)
        request.case_id, request.if_version = found.case_id, if_version or found.version
        request.citations.extend(_citations(found, rely_on))
        response = await client.decide_application(request)
    acting.show(response, lambda: issued(response.decision, response.version))


def _granted(
    number: str, valid_from: str | None, valid_to: str | None, conditions: list[str]
) -> pb.DecideApplicationRequest.Granted:
    return pb.DecideApplicationRequest.Granted(
        certificate_number=number,
        valid_from=legal_date("--valid-from", valid_from) if valid_from else None,
        valid_to=legal_date("--valid-to", valid_to) if valid_to else None,
        conditions=conditions,
    )


def _citations(case: Case, names: Iterable[str]) -> Iterable[pb.DecideApplicationRequest.Citation]:
    """Each collaboration named once, with its round."""
    cited = {each.collaboration_id: each for name in names for each in _named(case.collaborations, name)}
    return [
        pb.DecideApplicationRequest.Citation(collaboration_id=each.collaboration_id, round=each.round)
        for each in cited.values()
    ]


def _named(standings: Sequence[Standing], name: str) -> Sequence[Standing]:
    if name == EVERY:
        return [each for each in standings if each.state == Collaboration.STATE_CONCLUDED or _was_answered(each)]
    found = [each for each in standings if name.lower() in (each.event_no.lower(), each.collaboration_id)]
    if not found:
        has = ", ".join(each.event_no or each.collaboration_id for each in standings) or say("none")
        raise Failure("the case has no collaboration {name!r}: it has {others}", name=name, others=has)
    return found


def _was_answered(standing: Standing) -> bool:
    return any(task.HasField("answer") and not task.answer_late for task in standing.tasks)


def _override(text: str) -> pb.DecideApplicationRequest.Override:
    task, explanation = pair("--override", text, "TASK=EXPLANATION")
    return pb.DecideApplicationRequest.Override(task_id=task, explanation=explanation)
