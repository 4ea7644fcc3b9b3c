"""`ronghe certs list`, `issue`, `renew`: who has a certificate in the data directory, until when, and a new one."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from cryptography import x509

from clients.cli.acting import Acting
from clients.cli.command import command
from clients.cli.errors import Failure, one_line
from clients.cli.output import rows, show, show_plain_json, table

app = typer.Typer(no_args_is_help=True, help="Certificates of the local authority.")

# Keystores hold a key and a copy of a certificate that has a file of its own.
PRIVATE = b"PRIVATE KEY"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate on disk."""

    name: str
    """"<kind>/<id>", or the subject where it carries no identity."""
    path: Path
    expires_at: datetime

    @property
    def days(self) -> int:
        """Days it has left."""
        return (self.expires_at - datetime.now(UTC)).days


@command(app, "list")
async def list_certificates(acting: Acting) -> None:
    """List the certificates, the ones that end first at the top."""
    found = sorted(certificates(acting.data / "pki"), key=lambda each: (each.expires_at, each.name))
    if not found:
        raise Failure("there are no certificates in {folder}: `ronghe up` makes them", folder=acting.data / "pki")
    if acting.json:
        show_plain_json([_to_json(each) for each in found])
    else:
        show([rows(table("identity", "expires", "days left#"), _lines(found))])


@command(app, "issue")
async def issue(
    acting: Acting,
    party: Annotated[list[str], typer.Argument(metavar="KIND/ID...", help="Whom for, for example organ/fire-500103.")],
) -> None:
    """Issue a certificate to a party that has none, or whose own ends within 30 days."""
    _issue(acting, *party)


@command(app, "renew")
async def renew(
    acting: Acting,
    party: Annotated[
        list[str] | None, typer.Argument(metavar="[KIND/ID...]", help="Whose; everyone's if absent.")
    ] = None,
) -> None:
    """Issue certificates anew, however long the old ones are good. Nothing need be restarted.

    Servers take theirs with the next handshake; clients of this library, those of the broker, and the mesh's own broker
    within seconds.
    """
    _issue(acting, "--anew", *(party or ()))


def _issue(acting: Acting, *arguments: str) -> None:
    module = [sys.executable, "-m", "servers.mesh.certificates", "--data", str(acting.data)]
    done = subprocess.run([*module, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(one_line(done.stderr))
    issued = done.stdout.split()
    if acting.json:
        show_plain_json(issued)
    else:
        show(issued)


def certificates(pki: Path) -> Iterator[Certificate]:
    """Every certificate below the folder. Raises Failure for a file that is none."""
    for path in sorted(pki.glob("**/*.pem")):
        try:
            content = path.read_bytes()
            if PRIVATE not in content:
                parsed = x509.load_pem_x509_certificate(content)
                yield Certificate(_name(parsed), path, parsed.not_valid_after_utc)
        except (OSError, ValueError) as error:
            raise Failure("{path} is no certificate that can be read", path=path) from error


def _name(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return certificate.subject.rfc4514_string()
    uris = [urlsplit(uri) for uri in names.get_values_for_type(x509.UniformResourceIdentifier)]
    return next((uri.path.lstrip("/") for uri in uris if uri.scheme == "spiffe"), certificate.subject.rfc4514_string())


def _lines(found: Sequence[Certificate]) -> Iterator[tuple[object, ...]]:
    return ((each.name, f"{each.expires_at:%Y-%m-%d %H:%M} UTC", each.days) for each in found)


def _to_json(certificate: Certificate) -> dict[str, object]:
    return {
        "identity": certificate.name,
        "path": str(certificate.path),
        "expires_at": f"{certificate.expires_at:%Y-%m-%dT%H:%M:%SZ}",
    }
