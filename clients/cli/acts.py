"""`ronghe case accept`, `refuse`, `correct`, `step`, `decide`, `close`: what the lead organ does.

Each act is signed: --as organ/<id> and --officer ID:NAME.
"""

from typing import Annotated

import typer

from clients.cli.acting import Acting
from clients.cli.asking import case_id_of, find_case
from clients.cli.command import CaseArgument, command
from clients.cli.errors import Failure
from clients.cli.output import Shown, day, facts, word
from clients.cli.values import choice, legal_date, timestamp, words
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
    collaboration: Annotated[
        str | None, typer.Option(metavar="REASON", help="Why other departments must be asked.")
    ] = None,
    defer: Annotated[
        list[str], typer.Option(metavar="CODE", help="A material that may follow (容缺); repeatable.")
    ] = [],  # noqa: B006 - typer copies it
    contact: Annotated[str, typer.Option(metavar="TEXT", help="Whom the applicant may ask.")] = "",
    if_version: IfVersion = 0,
) -> None:
    """Accept an application (受理), with the judgement whether others must be asked; prints the receipt's number."""
    organ, signer = acting.department(), acting.signer
    judgement = _judgement(no_collaboration, collaboration)
    async with organ as client:
        response = await client.accept_application(
            pb.AcceptApplicationRequest(
                case_id=await case_id_of(client, case),
                actor=signer,
                if_version=if_version,
                judgement=judgement,
                deferred_materials=defer,
                contact=contact,
            )
        )
    acting.show(response, lambda: _issued(response.receipt, response.version))


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
    acting.show(response, lambda: _issued(response.refusal, response.version))


@command(app, "correct")
async def correct(
    acting: Acting,
    case: CaseArgument,
    defect: Annotated[
        list[str],
        typer.Option(
            metavar="SUBJECT|DEFECT|REQUIRED[|BASIS]",
            help="What is missing or wrong, and what to supply; repeatable: all defects at once.",
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
    acting.show(response, lambda: _issued(response.notice, response.version))


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
    acting.show(response, lambda: _version(response.version))


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
    basis: Basis = [],  # noqa: B006
    if_version: Annotated[
        int, typer.Option(min=0, help="The version the decision rests on; 0: the case as it is read now.")
    ] = 0,
) -> None:
    """Decide (审批决定): grant with --grant, or deny with --deny and --remedies; prints the decision's number."""
    organ, signer = acting.department(), acting.signer
    request = pb.DecideApplicationRequest(actor=signer, basis=basis)
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
        response = await client.decide_application(request)
    acting.show(response, lambda: _issued(response.decision, response.version))


@command(app, "close")
async def close(acting: Acting, case: CaseArgument, if_version: IfVersion = 0) -> None:
    """Close a decided case (办结)."""
    organ, signer = acting.department(), acting.signer
    async with organ as client:
        request = pb.CloseCaseRequest(case_id=await case_id_of(client, case), actor=signer, if_version=if_version)
        response = await client.close_case(request)
    acting.show(response, lambda: _version(response.version))


def _judgement(without: str | None, together: str | None) -> case_pb2.Judgement:
    if (without is None) == (together is None):
        raise Failure(
            "say with either --no-collaboration REASON or --collaboration REASON whether others must be asked"
        )
    return case_pb2.Judgement(collaboration_needed=together is not None, reason=without or together or "")


def _defect(text: str) -> pb.Defect:
    parts = text.split("|")
    if len(parts) not in (3, 4):
        raise Failure(f"--defect is SUBJECT|DEFECT|REQUIRED or SUBJECT|DEFECT|REQUIRED|BASIS, and {text!r} is not")
    return pb.Defect(**dict(zip(("subject", "defect", "required", "basis"), parts, strict=False)))


def _granted(
    number: str, valid_from: str | None, valid_to: str | None, conditions: list[str]
) -> pb.DecideApplicationRequest.Granted:
    return pb.DecideApplicationRequest.Granted(
        certificate_number=number,
        valid_from=legal_date("--valid-from", valid_from) if valid_from else None,
        valid_to=legal_date("--valid-to", valid_to) if valid_to else None,
        conditions=conditions,
    )


def _issued(document: Document, version: int) -> Shown:
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


def _version(version: int) -> Shown:
    return [facts([("version", version)])]
