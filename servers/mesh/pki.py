"""The local certificate authority of a mesh, and the certificates of everyone who takes part."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clients.identity import Identity
from servers.mesh.errors import MeshError

DOMAIN = "ronghe.local"
BROKER = "broker/broker"
"""The name of the certificate that all brokers have: they are no party of a contract."""
AUTHORITY_LIFETIME = timedelta(days=3650)
LIFETIME = timedelta(days=365)
# A mesh that starts replaces what has less than this to live.
RENEWAL = timedelta(days=30)
# Clocks differ a little between machines.
LEEWAY = timedelta(minutes=5)
PEM = serialization.Encoding.PEM
# Modes of files.
PRIVATE, PUBLIC = 0o600, 0o644
SIGNS_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate on disk."""

    name: str
    """ "<kind>/<id>" """
    path: Path
    not_after: datetime


class Authority:
    """`<folder>/ca.pem` with its key, and `<folder>/<kind>/<id>.pem` with `.key` for each party.

    What is there stays, until it soon expires. Who issues holds `<folder>/lock` meanwhile: two at once would mix a key
    of one with a certificate of the other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        with _locked(folder):
            if not (folder / "ca.pem").exists():
                self._make_authority()
        self._key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        self._certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())

    def _make_authority(self) -> None:
        if any(list_certificates(self.folder)):
            missing = self.folder / "ca.pem"
            raise MeshError(f"{missing} is gone, by which all others here are known: put it back")
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ronghe local authority")])
        certificate = (
            _builder(name, name, key.public_key(), AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(SIGNS_CERTIFICATES, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _replace(
            _key_file(self.folder / "ca.key", key), (self.folder / "ca.pem", certificate.public_bytes(PEM), PUBLIC)
        )

    def issue(self, identity: Identity, *, anew: bool = False) -> None:
        """A certificate for a party, unless it has one that is good for some time."""
        path = self.folder / identity.kind / f"{identity.id}.pem"
        with _locked(self.folder):
            self._issue(path, str(identity), identity.uri(DOMAIN), anew=anew)

    def issue_broker(self, *, anew: bool = False) -> Path:
        """The brokers' certificate and key in one file, as Kafka reads them."""
        path = self.folder / "broker" / "broker.pem"
        keystore = path.with_name("keystore.pem")
        with _locked(self.folder):
            self._issue(path, "broker", f"spiffe://{DOMAIN}/{BROKER}", anew=anew)
            _replace((keystore, path.with_suffix(".key").read_bytes() + path.read_bytes(), PRIVATE))
        return keystore

    def _issue(self, path: Path, name: str, uri: str, *, anew: bool = False) -> None:
        if not anew and _may_stay(path):
            return
        path.parent.mkdir(exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(uri),
            x509.DNSName("localhost"),
            x509.IPAddress(ip_address("127.0.0.1")),
        ]
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())  # type: ignore[arg-type]
        certificate = (
            _builder(subject, self._certificate.subject, key.public_key(), LIFETIME)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usages, critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())  # type: ignore[arg-type]  # the key is the one that was made above
        )
        # The certificate last: where it is new, its key is too.
        _replace(_key_file(path.with_suffix(".key"), key), (path, certificate.public_bytes(PEM), PUBLIC))


def secret_file(folder: Path, name: str) -> Path:
    """A file with 32 random bytes for one deployment, made once."""
    path = folder / "secrets" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace((path, os.urandom(32), PRIVATE))
    return path


def list_certificates(folder: Path) -> Iterator[Issued]:
    """Every party's certificate."""
    for path in sorted(folder.glob("*/*.pem")):
        if path.name != "keystore.pem":
            yield Issued(f"{path.parent.name}/{path.stem}", path, _expiry(path))


def _may_stay(path: Path) -> bool:
    """Whether there is one that is good for some time. An issue may have been cut short: then its key is another's."""
    key = path.with_suffix(".key")
    if not (path.exists() and key.exists()):
        return False
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        own = serialization.load_pem_private_key(key.read_bytes(), None).public_key() == certificate.public_key()
    except ValueError:  # a power cut may leave half a file
        return False
    return own and certificate.not_valid_after_utc > datetime.now(UTC) + RENEWAL


def _expiry(path: Path) -> datetime:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def issue_all(folder: Path, identities: Iterable[Identity]) -> Authority:
    """The authority, with a certificate for each of these parties."""
    authority = Authority(folder)
    for identity in identities:
        authority.issue(identity)
    return authority


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LEEWAY)
        .not_valid_after(now + lifetime)
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process, and one thread of it, issues at a time; the lock goes with the process."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _key_file(path: Path, key: ec.EllipticCurvePrivateKey) -> tuple[Path, bytes, int]:
    text = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return path, text, PRIVATE


def _replace(*files: tuple[Path, bytes, int]) -> None:
    """Let these files (path, content, mode) take their places, in this order.

    All are written before the first does: whoever reads meanwhile finds whole files, and the moment in which one is new
    and the next is not is as short as it can be.
    """
    for path, content, mode in files:
        with os.fdopen(os.open(_fresh(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
    for path, _, _ in files:
        _fresh(path).replace(path)


def _fresh(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")
