"""Certificates that are absent, unknown, expired, or of the wrong kind: who says so, and where; and a renewed one."""

import asyncio
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc import StatusCode

from clients.channel import SERVER_NAME
from clients.errors import RongheError
from clients.identity import Identity
from servers.mesh.pki import DOMAIN, Authority, issue_all
from tests.e2e.door import ORGAN, Door, refused
from tests.e2e.drive import TERMINAL, Mesh, until

RONGHE = str(Path(sys.executable).with_name("ronghe"))
LIST = "ronghe.intake.v1.IntakeService/ListApplications"
DAY = timedelta(days=1)
Pair = tuple[bytes, bytes]
"""A certificate and its key, as PEM."""


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """The folder of an authority of the same name that nobody here knows."""
    return Authority(tmp_path / "strange").folder


def made(folder: Path, uri: str, begin: timedelta = -DAY, end: timedelta = DAY) -> Pair:
    """A certificate by the authority of a folder, with any name and any time."""
    signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type] # the key is the one that the authority made
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(*form)


async def answer(mesh: Mesh, pair: Pair | None, trusted: Path | None = None) -> RongheError:
    """What a caller with this certificate gets."""
    ca = ((trusted or mesh.pki) / "ca.pem").read_bytes()
    tls = grpc.ssl_channel_credentials(ca, *((pair[1], pair[0]) if pair else ()))
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    async with grpc.aio.secure_channel(mesh.addresses["intake"], tls, options=options) as channel:
        return await refused(mesh, lambda: Door(channel).unary(LIST, b""))


# --- what fails in the handshake ---

URI = TERMINAL.uri(DOMAIN)


@pytest.mark.parametrize(
    ("present", "said"),
    [
        pytest.param(lambda ours, strange: None, "PEER_DID_NOT_RETURN_A_CERTIFICATE", id="absent"),
        pytest.param(lambda ours, strange: made(ours, URI, -2 * DAY, -DAY), "certificate has expired", id="expired"),
        pytest.param(lambda ours, strange: made(ours, URI, DAY, 2 * DAY), "certificate is not yet valid", id="early"),
        pytest.param(
            lambda ours, strange: made(strange, URI), "certificate signature failure", id="of another authority"
        ),
    ],
)
async def test_the_servers_log_says_why_a_handshake_failed(
    mesh: Mesh, strange: Path, present: Callable[[Path, Path], Pair | None], said: str
) -> None:
    """The caller learns no more than that there is no connection: TLS ends before anything can be said."""
    log = mesh.data / "log" / "intake.log"
    start = log.stat().st_size

    error = await answer(mesh, present(mesh.pki, strange))

    assert error.code is StatusCode.UNAVAILABLE

    def is_written() -> bool:
        lines = log.read_bytes()[start:].decode()
        return "Handshake failed" in lines and said in lines

    await until(is_written, "the server's log says why", 5)


async def test_a_server_of_another_authority_is_not_spoken_to(mesh: Mesh, strange: Path) -> None:
    error = await answer(mesh, made(mesh.pki, URI), trusted=strange)
    assert error.code is StatusCode.UNAVAILABLE
    assert "CERTIFICATE_VERIFY_FAILED" in error.message


# --- what the client says before it calls ---


@pytest.mark.parametrize(
    ("put", "said"),
    [
        pytest.param(lambda ours, strange, path: None, "cannot be read", id="absent"),
        pytest.param(
            lambda ours, strange, path: _put(path, made(ours, _uri(path), -2 * DAY, -DAY)), "renew it", id="expired"
        ),
        pytest.param(
            lambda ours, strange, path: _put(path, made(ours, _uri(path), DAY, 2 * DAY)),
            "is not valid before", id="early",
        ),
        pytest.param(
            lambda ours, strange, path: _put(path, made(strange, _uri(path))),
            "which is not in", id="of another authority",
        ),
        pytest.param(
            lambda ours, strange, path: _put(path, made(ours, URI)), "does not carry the identity", id="another's"
        ),
    ],
)  # fmt: skip
def test_the_command_line_says_which_certificate_will_not_do(
    mesh: Mesh, strange: Path, put: Callable[[Path, Path, Path], None], said: str
) -> None:
    path = mesh.pki / "organ" / "paperless.pem"
    path.unlink(missing_ok=True)
    put(mesh.pki, strange, path)
    done = ronghe(mesh, "--as", "organ/paperless", "case", "list")
    path.unlink(missing_ok=True)
    assert done.returncode != 0
    words = " ".join(done.stderr.split())
    assert said in words
    assert "paperless.pem" in words
    assert "Traceback" not in words


def ronghe(mesh: Mesh, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [RONGHE, "--data", str(mesh.data), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _uri(path: Path) -> str:
    return Identity("organ", path.stem).uri(DOMAIN)


def _put(path: Path, pair: Pair) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pair[0])
    path.with_suffix(".key").write_bytes(pair[1])


# --- whom the server does not know, or not for this ---


async def test_a_certificate_of_the_wrong_kind_is_denied(mesh: Mesh) -> None:
    issue_all(mesh.pki, [ORGAN])
    path = mesh.pki / "organ" / f"{ORGAN.id}.pem"
    error = await answer(mesh, (path.read_bytes(), path.with_suffix(".key").read_bytes()))
    assert (error.code, error.reason) == (StatusCode.PERMISSION_DENIED, "CALLER_KIND_NOT_ALLOWED")
    assert error.message.startswith(
        "a caller of kind organ may not call ronghe.intake.v1.IntakeService/ListApplications"
    )
    assert "allowed: auditor, intake, terminal" in error.message


@pytest.mark.parametrize(
    "uri",
    [
        f"spiffe://{DOMAIN}/broker/broker",
        f"spiffe://{DOMAIN}/organ",
        f"spiffe://{DOMAIN}/mayor/1",
        "spiffe://elsewhere.local/terminal/yukuaiban",
        "https://ronghe.local/terminal/yukuaiban",
    ],
)
async def test_a_certificate_without_an_identity_of_ours_is_not_known(mesh: Mesh, uri: str) -> None:
    error = await answer(mesh, made(mesh.pki, uri))
    assert (error.code, error.reason) == (StatusCode.UNAUTHENTICATED, "CALLER_UNKNOWN")
    assert "expected is one spiffe://ronghe.local/<kind>/<id>" in error.message


# --- renewed while everything runs ---


async def test_the_broker_takes_its_new_certificate_without_a_restart(mesh: Mesh) -> None:
    pid, ports = mesh.pid("kafka"), broker_ports(mesh)
    before = [presented(mesh, port) for port in ports]

    done = await asyncio.to_thread(ronghe, mesh, "certs", "renew", "broker/broker")

    assert (done.returncode, done.stdout) == (0, "broker/broker\n")
    issued = x509.load_pem_x509_certificate((mesh.pki / "broker" / "broker.pem").read_bytes())
    assert issued not in before
    for port in ports:
        await until(lambda port=port: presented(mesh, port) == issued, f"the new certificate at port {port}")
    assert mesh.pid("kafka") == pid


def broker_ports(mesh: Mesh) -> list[int]:
    """Of its listeners for clients and for controllers."""
    properties = (mesh.data / "kafka" / "server.properties").read_text()
    (listeners,) = re.findall("^listeners=(.*)$", properties, re.MULTILINE)
    return [int(port) for port in re.findall(r":(\d+)", listeners)]


def presented(mesh: Mesh, port: int) -> x509.Certificate:
    """What whoever listens there shows to a service."""
    context = ssl.create_default_context(cafile=str(mesh.pki / "ca.pem"))
    certificate = mesh.pki / "service" / "governance-01.pem"
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="localhost") as tls:
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
