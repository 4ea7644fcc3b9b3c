"""`ronghe doctor`: what is wrong with the mesh, and which command helps."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import typer

from clients.cli.acting import SUBSYSTEMS, Acting
from clients.cli.certificates import certificates
from clients.cli.checks import Finding, Level, check_certificates, check_disk, check_subsystem, worst
from clients.cli.command import command
from clients.cli.errors import Failure, of_credentials, sentence
from clients.cli.language import in_english, say
from clients.cli.output import rows, show, show_plain_json, table
from clients.credentials import CredentialsError
from clients.errors import RongheError
from clients.subsystem import SubsystemClient
from ronghe.operations.v1 import operations_service_pb2 as pb

app = typer.Typer()

LETTERS = 500


@command(app, "doctor")
async def doctor(acting: Acting) -> None:
    """Ask every subsystem and look into the data directory: what is wrong, and which command helps.

    The exit status is 0 when all is well, 1 when there are warnings, 2 when something has failed.
    """
    with in_english(acting.json):
        findings = await _findings(acting)
    if acting.json:
        show_plain_json([_to_json(finding) for finding in findings])
    else:
        show([rows(table("", "what", "found", whole=("what",)), map(_line, findings))])
    raise typer.Exit(int(worst(findings)))


async def _findings(acting: Acting) -> Sequence[Finding]:
    asked = await asyncio.gather(*(_subsystem(acting, name) for name in SUBSYSTEMS))
    return [finding for found in asked for finding in found] + _machine(acting)


async def _subsystem(acting: Acting, name: str) -> Sequence[Finding]:
    try:
        async with acting.subsystem(name, acting.reader) as client:
            asked = datetime.now(UTC)
            status = await client.operations.get_bridge_status(pb.GetBridgeStatusRequest())
            answered = datetime.now(UTC)
            letters = [letter async for letter in _letters(client)]
    except RongheError as error:
        return [Finding(Level.FAIL, name, sentence(error), f"tail {acting.data / 'log' / name}.log")]
    except CredentialsError as error:
        return [Finding(Level.FAIL, name, of_credentials(error), "ronghe up")]
    except Failure as error:
        return [Finding(Level.FAIL, name, str(error), "ronghe up")]
    return list(check_subsystem(name, status, letters, asked + (answered - asked) / 2))


async def _letters(client: SubsystemClient) -> AsyncIterator[pb.DeadLetter]:
    request = pb.ListDeadLettersRequest(page_size=LETTERS)
    while True:
        page = await client.operations.list_dead_letters(request)
        for letter in page.dead_letters:
            yield letter
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _machine(acting: Acting) -> list[Finding]:
    try:
        found = list(check_certificates(list(certificates(acting.data / "pki")), datetime.now(UTC)))
    except Failure as error:
        found = [Finding(Level.FAIL, say("certificates"), str(error), "ronghe certs list")]
    if acting.data.exists():
        found.append(check_disk(shutil.disk_usage(acting.data).free))
    return found


def _line(finding: Finding) -> tuple[str, str, str]:
    helps = f"\n{finding.helps}" if finding.helps else ""
    return say(finding.level.name.lower()), finding.subject, f"{finding.found}{helps}"


def _to_json(finding: Finding) -> dict[str, str]:
    return {
        "level": finding.level.name.lower(),
        "subject": finding.subject,
        "found": finding.found,
        "command": finding.helps,
    }
