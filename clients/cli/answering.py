"""`ronghe task answer`: what a collaborator says.

It is signed: --as organ/<id> and --officer ID:NAME.
"""

from typing import Annotated

import typer

from clients.cli.acting import Acting
from clients.cli.case_acts import reached
from clients.cli.command import command
from clients.cli.errors import Failure
from clients.cli.tasks import TaskArgument
from clients.cli.values import choice, legal_date, pair, timestamp, words
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Answer, CoApproval
from ronghe.document.v1.document_pb2 import CertificateReference

app = typer.Typer()

# What a co-approval's own result is, for each opinion that has one.
RESULTS = {
    Answer.OPINION_AGREE: CoApproval.RESULT_GRANTED,
    Answer.OPINION_AGREE_WITH_CONDITIONS: CoApproval.RESULT_GRANTED,
    Answer.OPINION_DISAGREE: CoApproval.RESULT_DENIED,
}


@command(app, "answer")
async def answer(
    acting: Acting,
    task: TaskArgument,
    opinion: Annotated[str, typer.Option(metavar="OPINION", help=", ".join(words(Answer.Opinion)))],
    text: Annotated[str, typer.Option(metavar="TEXT", help="The opinion in words.")] = "",
    condition: Annotated[
        list[str], typer.Option(metavar="TEXT", help="A condition, with agree-with-conditions; repeatable.")
    ] = [],  # noqa: B006 - typer copies it
    reason: Annotated[list[str], typer.Option(metavar="TEXT", help="A reason, with disagree; repeatable.")] = [],  # noqa: B006
    need: Annotated[
        list[str], typer.Option(metavar="TEXT", help="What is missing, with need-more-material; repeatable.")
    ] = [],  # noqa: B006
    document_number: Annotated[
        str, typer.Option(metavar="NUMBER", help="In a co-approval: the number of this organ's own document.")
    ] = "",
    issued_on: Annotated[str | None, typer.Option(metavar="DATE", help="The day of that document.")] = None,
    certificate: Annotated[
        str | None, typer.Option(metavar="NAME=NUMBER", help="The certificate that it grants, where it grants one.")
    ] = None,
    valid_from: Annotated[str | None, typer.Option(metavar="DATE", help="The certificate's first day.")] = None,
    valid_to: Annotated[str | None, typer.Option(metavar="DATE", help="Its last day.")] = None,
    visited_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="In a joint site visit: when the site was visited, RFC 3339.")
    ] = None,
) -> None:
    """Answer a task (反馈) that is signed for.

    In a co-approval the organ's own document grants where it agrees and denies where it disagrees.
    """
    organ, signer = acting.department(), acting.signer
    said = choice(Answer.Opinion, "--opinion", opinion)
    given = Answer(
        opinion=said,
        text=text,
        conditions=condition,
        reasons=reason,
        needs=need,
        co_approval=_own_result(said, document_number, issued_on, _certificate(certificate, valid_from, valid_to)),
        visited_at=timestamp("--visited-at", visited_at) if visited_at else None,
    )
    async with organ as client:
        request = pb.AnswerTaskRequest(task_id=task, actor=signer, answer=given)
        response = await client.collaborations.answer_task(request)
    acting.show(response, lambda: reached(response.version))


def _certificate(text: str | None, valid_from: str | None, valid_to: str | None) -> CertificateReference | None:
    if text is None:
        if valid_from or valid_to:
            raise Failure("--valid-from and --valid-to go with --certificate NAME=NUMBER")
        return None
    name, number = pair("--certificate", text, "NAME=NUMBER")
    return CertificateReference(
        name=name,
        number=number,
        valid_from=legal_date("--valid-from", valid_from) if valid_from else None,
        valid_to=legal_date("--valid-to", valid_to) if valid_to else None,
    )


def _own_result(
    opinion: "Answer.Opinion.ValueType", number: str, issued_on: str | None, certificate: CertificateReference | None
) -> CoApproval | None:
    if not number and issued_on is None:
        if certificate is not None:
            raise Failure("--certificate goes with --document-number and --issued-on")
        return None
    if not number or issued_on is None:
        raise Failure("--document-number and --issued-on go together")
    if opinion not in RESULTS:
        raise Failure("--document-number goes with an opinion that agrees or disagrees")
    return CoApproval(
        document_number=number,
        issued_on=legal_date("--issued-on", issued_on),
        result=RESULTS[opinion],
        certificate=certificate,
    )
