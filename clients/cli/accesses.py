"""`ronghe access list`: who read whose personal data."""

from collections.abc import Mapping
from typing import Annotated

import typer

from clients.cli.acting import Acting
from clients.cli.asking import ask, case_id_of
from clients.cli.command import AtOption, command
from clients.cli.output import Shown, instant, show, show_json, table
from clients.cli.values import timestamp
from clients.identity import Identity
from ronghe.audit.v1 import audit_service_pb2 as pb

app = typer.Typer(no_args_is_help=True, help="Who read personal data (个人信息访问记录); auditors only.")

AUDITOR = Identity("auditor", "local")


@command(app, "list")
async def list_accesses(
    acting: Acting,
    case: Annotated[str, typer.Option(metavar="CASE", help="Only this case, by number or id.")] = "",
    who: Annotated[str, typer.Option(metavar="KIND/ID", help="Only reads by this party.")] = "",
    since: Annotated[str | None, typer.Option(metavar="MOMENT", help="Only from here on.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Reads of each subsystem.")] = 50,
    at: AtOption = None,
) -> None:
    """List reads of personal data, newest first, of one subsystem or of all; as auditor/local unless --as says who."""
    auditor = acting if acting.said else acting.by(AUDITOR)
    request = pb.ListAccessesRequest(caller=who, page_size=limit)
    if since is not None:
        getattr(request, "from").CopyFrom(timestamp("--since", since))  # a keyword of Python
    if case:
        async with auditor.subsystem(None, auditor.reader) as client:
            request.case_id = await case_id_of(client, case)
    answers = await ask(auditor, at, lambda client: client.audit.list_accesses(request))
    if acting.json:
        show_json(answers)
    else:
        show(_listed(answers))


def _listed(answers: Mapping[str, pb.ListAccessesResponse]) -> Shown:
    made = table("when", "who", "at", "case", "call", "fields", whole=("case",))
    found = [(access, name) for name, answer in answers.items() for access in answer.accesses]
    for access, name in sorted(found, key=lambda each: each[0].at.ToNanoseconds(), reverse=True):
        fields = ", ".join(access.fields)
        made.add_row(instant(access.at), access.caller, name, access.case_id, access.method.rpartition("/")[2], fields)
    return [made]
