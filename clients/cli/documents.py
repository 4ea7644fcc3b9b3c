"""`ronghe document`: a paper of a case as a person reads it."""

from collections.abc import Iterator
from typing import Annotated

import typer

from clients.cli.acting import Acting
from clients.cli.asking import case_id_of
from clients.cli.command import CaseArgument, command
from clients.cli.language import CHINESE, chosen
from clients.cli.output import day, facts, moment, show, show_json, word
from ronghe.document.v1.document_pb2 import Document
from ronghe.document.v1.document_service_pb2 import GetDocumentRequest

app = typer.Typer()


@command(app, "document")
async def document(
    acting: Acting,
    case: CaseArgument,
    number: Annotated[str, typer.Argument(help="The document's number: `ronghe case show` lists them.")],
) -> None:
    """Print a document, with the addressee's name; its own text is Chinese, and English readers get its contents first.

    Operators may not see it: without --as it is read as the terminal that hands applications in.
    """
    async with acting.subsystem(None, acting.terminal) as client:
        request = GetDocumentRequest(case_id=await case_id_of(client, case), number=number)
        response = await client.documents.get_document(request)
    if acting.json:
        show_json(response)
    else:
        if chosen() != CHINESE:
            show([facts(_contents(response.document)), ""])
        typer.echo(response.text)


def _contents(document: Document) -> Iterator[tuple[str, object]]:
    """What the text says; the text is the document, this only helps to read it."""
    yield "document", document.number
    yield "kind", word(Document.Kind, document.kind)
    yield "issued by", document.issuer.name
    yield "to", document.addressee.name
    yield "case", document.case_no
    yield "item", document.item_name
    yield "received", day(document.received_on)
    yield "accepted", day(document.accepted_on)
    yield "promised by", day(document.promised_due.date)
    yield "legal limit", day(document.legal_due.date)
    yield "materials", "\n".join(document.materials)
    yield "to be corrected", "\n".join(f"{line.line}. {line.subject}: {line.defect}" for line in document.lines)
    yield "reasons", "\n".join(document.reasons)
    yield "basis", "\n".join(document.basis)
    yield "conditions", "\n".join(document.conditions)
    yield "opinions", "\n".join(document.opinions)
    yield "certificate", document.certificate.number
    yield "review", document.remedies
    yield "contact", document.contact
    yield "issued", moment(document.issued_at)
