"""A party's certificate, checked before it is used: a bad one ends in the handshake, where no reason can be given."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature

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

    @classmethod
    def load(cls, pki: Path, identity: Identity, now: datetime | None = None) -> "Credentials":
        """Read `<pki>/ca.pem` and `<pki>/<kind>/<id>.pem`, `.key`; raises CredentialsError when they will not do."""
        path = pki / identity.kind / f"{identity.id}.pem"
        ca, certificate, key = _read(pki / "ca.pem"), _read(path), _read(path.with_suffix(".key"))
        parsed = _parse(certificate, path)
        _check_dates(parsed, path, now or datetime.now(UTC))
        _check_issuer(parsed, path, ca, pki / "ca.pem")
        return cls(identity, _domain(parsed, path, identity), parsed.not_valid_after_utc, ca, certificate, key)


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


def _check_issuer(certificate: x509.Certificate, path: Path, ca: bytes, ca_path: Path) -> None:
    authorities = x509.load_pem_x509_certificates(ca)
    if not any(_issued_by(certificate, authority) for authority in authorities):
        issuer = certificate.issuer.rfc4514_string()
        raise CredentialsError(f"the certificate {path} was issued by {issuer}, which is not in {ca_path}")


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _domain(certificate: x509.Certificate, path: Path, identity: Identity) -> str:
    for uri in _uris(certificate):
        domain = urlsplit(uri).netloc
        if uri == identity.uri(domain):
            return domain
    raise CredentialsError(f"the certificate {path} does not carry the identity {identity}")


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)
