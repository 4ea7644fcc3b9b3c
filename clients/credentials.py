"""A party's certificate, checked before it is used: a bad one ends in the handshake, where no reason can be given."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from clients.identity import Identity


class CredentialsError(Exception):
    """A certificate is missing, expired, from another authority, or somebody else's; the text says which, and where."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What mutual TLS needs, as PEM."""

    identity: Identity
    domain: str
    """The trust domain, for example "ronghe.local"."""
    expires_at: datetime
    ca: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    pki: Path
    """Where they were read."""
    stamp: int
    """When the certificate's file was written, nanoseconds."""

    @classmethod
    def load(cls, pki: Path, identity: Identity, now: datetime | None = None) -> "Credentials":
        """Read `<pki>/ca.pem` and `<pki>/<kind>/<id>.pem`, `.key`; raises CredentialsError when they will not do."""
        path = _path(pki, identity)
        stamp = _stamp(path)
        ca, certificate, key = _read(pki / "ca.pem"), _read(path), _read(path.with_suffix(".key"))
        parsed = _parse(certificate, path)
        _check_dates(parsed, path, now or datetime.now(UTC))
        _check_issuer(parsed, path, ca, pki / "ca.pem")
        _check_key(parsed, key, path)
        domain = _domain(parsed, path, identity)
        return cls(identity, domain, parsed.not_valid_after_utc, ca, certificate, key, pki, stamp)

    def renewed(self) -> "Credentials | None":
        """The certificate that has taken this one's place since; None while there is none that will do."""
        if _stamp(_path(self.pki, self.identity)) == self.stamp:
            return None
        try:
            return Credentials.load(self.pki, self.identity)
        except CredentialsError:
            # Its files are being written one after the other: the next look finds them whole.
            return None


def _path(pki: Path, identity: Identity) -> Path:
    return pki / identity.kind / f"{identity.id}.pem"


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{path} cannot be read: {error.strerror}") from error


def _parse(certificate: bytes, path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise CredentialsError(f"{path} is not a certificate in PEM form") from error


def _check_dates(certificate: x509.Certificate, path: Path, now: datetime) -> None:
    if now > certificate.not_valid_after_utc:
        raise CredentialsError(f"the certificate {path} expired at {certificate.not_valid_after_utc}: renew it")
    if now < certificate.not_valid_before_utc:
        raise CredentialsError(f"the certificate {path} is not valid before {certificate.not_valid_before_utc}")


def _check_key(certificate: x509.Certificate, key: bytes, path: Path) -> None:
    try:
        public = load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError) as error:
        raise CredentialsError(f"{path.with_suffix('.key')} is not a private key in PEM form") from error
    if public != certificate.public_key():
        raise CredentialsError(f"{path.with_suffix('.key')} is not the key of {path}: issue the certificate anew")


def _check_issuer(certificate: x509.Certificate, path: Path, ca: bytes, ca_path: Path) -> None:
    try:
        authorities = x509.load_pem_x509_certificates(ca)
    except ValueError as error:
        raise CredentialsError(f"{ca_path} does not hold certificates in PEM form") from error
    if not any(issued_by(certificate, authority) for authority in authorities):
        issuer = certificate.issuer.rfc4514_string()
        raise CredentialsError(f"the certificate {path} was issued by {issuer}, which is not in {ca_path}")


def issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether this authority signed the certificate; its dates are not looked at."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _domain(certificate: x509.Certificate, path: Path, identity: Identity) -> str:
    for uri in uris(certificate):
        domain = urlsplit(uri).netloc
        if uri == identity.uri(domain):
            return domain
    raise CredentialsError(f"the certificate {path} does not carry the identity {identity}")


def uris(certificate: x509.Certificate) -> list[str]:
    """The URIs that it names, its holder's identity among them."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)
