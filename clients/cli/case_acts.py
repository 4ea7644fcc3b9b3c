"""`ronghe case accept`, `refuse`, `correct`, `step`, `close`: what the lead organ does. `decide` is in `deciding`.

Each act is signed: --as organ/<id> and --officer ID:NAME.
"""

from collections.abc import Sequence
from typing import Annotated

import typer

from clients.cli.acting import Acting
from clients.cli.asking import case_id_of
from clients.cli.command import CaseArgument, command
from clients.cli.errors import Failure
from clients.cli.output import Shown, day, facts, word
from clients.cli.values import choice, pair, timestamp, words
from ronghe.case.v1 import case_pb2
from ronghe.department.v1 import department_service_pb2 as pb
from ronghe.document.v1.document_pb2 import Document

app = typer.Typer()

IfVersion = Annotated[
    int, typer.Option(min=0, help="Fail when the case is not of this version any more; 0: whatever it is.")
]
Basis = Annotated[list[str], typer.Option("--basis", metavar="TEXT", help="A provision it rests on; repeatable.")]
Remedies = Annotated[str, typer.Option(metavar="TEXT", help="Where, and within what time, it can be contested.")]


@command(app, "accept")
async def accept(
    acting: Acting,
    case: CaseArgument,
    no_collaboration: Annotated[
        str | None, typer.Option(metavar="REASON", help="Why no other department need be asked.")
    ] = None,
    as_proposed: Annotated[
        bool, typer.Option("--as-proposed", help="Ask whoever the item's rules propose, nobody where none does.")
    ] = False,
    collaboration: Annotated[
        str | None, typer.Option(metavar="REASON", help="Why other departments must be asked.")
    ] = None,
    rule: Annotated[
        list[str],
        typer.Option(
            metavar="RULE", help="With --collaboration: a rule of the item that will be asked by; repeatable."
        ),
    ] = [],  # noqa: B006 - typer copies it
    left_out: Annotated[
        list[str],
        typer.Option(metavar="RULE=REASON", help="A rule that the law requires and why it is left out; repeatable."),
    ] = [],  # noqa: B006
    defer: Annotated[
        list[str], typer.Option(metavar="CODE", help="A material that may follow (容缺); repeatable.")
    ] = [],  # noqa: B006 - typer copies it
    contact: Annotated[str, typer.Option(metavar="TEXT", help="Whom the applicant may ask.")] = "",
    if_version: IfVersion = 0,
) -> None:
    """Accept an application (受理), with the judgement whether others must be asked; prints the receipt's number.

    The judgement is one of --no-collaboration, --as-proposed and --collaboration; `ronghe collaboration request` asks.
    """
    organ, signer = acting.department(), acting.signer
    request = pb.AcceptApplicationRequest(
        actor=signer, if_version=if_version, deferred_materials=defer, contact=contact
    )
    _set_judgement(request, no_collaboration, collaboration, rule, left_out, as_proposed=as_proposed)
    async with organ as client:
        request.case_id = await case_id_of(client, case)
        response = await client.accept_application(request)
    acting.show(response, lambda: issued(response.receipt, response.version))


@command(app, "refuse")
async def refuse(
    acting: Acting,
    case: CaseArgument,
    reason: Annotated[list[str], typer.Option(metavar="TEXT", help="Why; repeatable.")],
    basis: Basis,
    remedies: Remedies,
    competent_body: Annotated[str, typer.Option(metavar="NAME", help="Who is competent, if this organ is not.")] = "",
    if_version: IfVersion = 0,
) -> None:
    """Refuse to accept an application (不予受理), which closes the case; prints the refusal's number."""
    organ, signer = acting.department(), acting.signer
    async with organ as client:
        response = await client.refuse_acceptance(
            pb.RefuseAcceptanceRequest(
                case_id=await case_id_of(client, case),
                actor=signer,
                if_version=if_version,
                reasons=reason,
                basis=basis,
                competent_body=competent_body,
                remedies=remedies,
            )
        )
    acting.show(response, lambda: issued(response.refusal, response.version))


@command(app, "correct")
async def correct(
    acting: Acting,
    case: CaseArgument,
    defect: Annotated[
        list[str],
        typer.Option(
            metavar="SUBJECT|DEFECT|REQUIRED[|BASIS[|TASK]]",
            help="What is missing or wrong, and what to supply, with the task of the collaborator who needs it, where "
            "it is passed on; repeatable: all defects at once.",
        ),
    ],
    if_version: IfVersion = 0,
) -> None:
    """Ask the applicant to correct (补正), every defect at once; prints the notice's number."""
    organ, signer = acting.department(), acting.signer
    defects = [_defect(text) for text in defect]
    async with organ as client:
        response = await client.request_correction(
            pb.RequestCorrectionRequest(
                case_id=await case_id_of(client, case), actor=signer, if_version=if_version, defects=defects
            )
        )
    acting.show(response, lambda: issued(response.notice, response.version))


@command(app, "step")
async def step(
    acting: Acting,
    case: CaseArgument,
    name: Annotated[str, typer.Option(metavar="NAME", help="The step, for example 审查.")],
    result: Annotated[str, typer.Option(metavar="RESULT", help=", ".join(words(case_pb2.Step.Result)))],
    opinion: Annotated[str, typer.Option(metavar="TEXT", help="The officer's opinion.")] = "",
    started: Annotated[str | None, typer.Option(metavar="TIME", help="When it began, RFC 3339; now if absent.")] = None,
    ended: Annotated[str | None, typer.Option(metavar="TIME", help="When it ended, RFC 3339; now if absent.")] = None,
    if_version: IfVersion = 0,
) -> None:
    """Record a step of the approval process (审批过程)."""
    organ, signer = acting.department(), acting.signer
    done = case_pb2.Step(
        name=name,
        result=choice(case_pb2.Step.Result, "--result", result),
        opinion=opinion,
        started_at=timestamp("--started", started),
        ended_at=timestamp("--ended", ended),
    )
    async with organ as client:
        response = await client.record_step(
            pb.RecordStepRequest(case_id=await case_id_of(client, case), actor=signer, if_version=if_version, step=done)
        )
    acting.show(response, lambda: reached(response.version))


@command(app, "close")
async def close(acting: Acting, case: CaseArgument, if_version: IfVersion = 0) -> None:
    """Close a decided case (办结)."""
    organ, signer = acting.department(), acting.signer
    async with organ as client:
        request = pb.CloseCaseRequest(case_id=await case_id_of(client, case), actor=signer, if_version=if_version)
        response = await client.close_case(request)
    acting.show(response, lambda: reached(response.version))


def _set_judgement(
    request: pb.AcceptApplicationRequest,
    without: str | None,
    together: str | None,
    rules: Sequence[str],
    left_out: Sequence[str],
    *,
    as_proposed: bool,
) -> None:
    if [without is not None, together is not None, as_proposed].count(True) != 1:
        raise Failure(
            "say with either --no-collaboration REASON, --as-proposed or --collaboration REASON "
            "whether others must be asked"
        )
    if rules and together is None:
        raise Failure("--rule goes with --collaboration REASON")
    if as_proposed and left_out:
        raise Failure("--as-proposed leaves no rule out: --left-out goes with the other two")
    reasons = [_left_out(text) for text in left_out]
    if without is not None:
        request.none.CopyFrom(pb.AcceptApplicationRequest.NoCollaboration(reason=without, left_out=reasons))
    elif together is not None:
        explicit = pb.AcceptApplicationRequest.Explicit(reason=together, rules=rules, left_out=reasons)
        request.explicit.CopyFrom(explicit)
    else:
        request.as_proposed.SetInParent()


def _left_out(text: str) -> case_pb2.Judgement.LeftOut:
    rule, reason = pair("--left-out", text, "RULE=REASON")
    return case_pb2.Judgement.LeftOut(rule=rule, reason=reason)


def _defect(text: str) -> pb.Defect:
    parts = text.split("|")
    if len(parts) not in (3, 4, 5):
        raise Failure(
            "--defect is SUBJECT|DEFECT|REQUIRED, then |BASIS and |TASK where there are, and {text!r} is not", text=text
        )
    return pb.Defect(**dict(zip(("subject", "defect", "required", "basis", "task_id"), parts, strict=False)))


def issued(document: Document, version: int) -> Shown:
    """A document that an act gives out, and the version that the case has then."""
    return [
        facts(
            [
                (word(Document.Kind, document.kind), document.number),
                ("legal due", day(document.legal_due.date)),
                ("promised due", day(document.promised_due.date)),
                ("version", version),
            ]
        )
    ]


def reached(version: int) -> Shown:
    """The version that an act led to."""
    return [facts([("version", version)])]
