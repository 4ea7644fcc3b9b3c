"""`ronghe document`: a paper of a case as a person reads it."""

from typing import Annotated

import typer

from clients.cli.acting import Acting
from clients.cli.asking import case_id_of
from clients.cli.command import CaseArgument, command
from clients.cli.output import show_json
from ronghe.document.v1.document_service_pb2 import GetDocumentRequest

app = typer.Typer()


@command(app, "document")
async def document(
    acting: Acting,
    case: CaseArgument,
    number: Annotated[str, typer.Argument(help="The document's number: `ronghe case show` lists them.")],
) -> None:
    """Print the text (in Chinese) of a document, with the addressee's name.

    Operators may not see it: without --as it is read as the terminal that hands applications in.
    """
    async with acting.subsystem(None, acting.terminal) as client:
        request = GetDocumentRequest(case_id=await case_id_of(client, case), number=number)
        response = await client.documents.get_document(request)
    if acting.json:
        show_json(response)
    else:
        typer.echo(response.text)
