"""Heads of journals, signed: by whose key, over which bytes, and what makes others believe one.

A head carries its signer's certificate, so that those stay good that were signed before it was renewed. The dates of a
certificate are not looked at: it was good when the service began, and the time in a head is its signer's own word.
"""

import struct
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import NAMESPACE_URL, uuid5

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from clients.credentials import Credentials, issued_by, uris
from clients.identity import Identity
from ronghe.event.v1.event_pb2 import JournalHead
from servers.kernel.times import to_micros, to_timestamp

ALGORITHM = "ECDSA-P256-SHA256"
PREFIX = b"ronghe journal head 1\0"
NUMBERS = struct.Struct(">QQq")
HASH_BYTES = 32


@lru_cache
def case_id_of(origin: str) -> str:
    """What stands in the place of a case id where a deployment's journal is meant."""
    return str(uuid5(NAMESPACE_URL, f"urn:ronghe:journal:{origin}"))


def signed_bytes(head: JournalHead, origin: str) -> bytes:
    """What the signature is over: all before the origin's name has a fixed length, so no other head has these bytes."""
    numbers = NUMBERS.pack(head.epoch, head.position, head.occurred_at.ToMicroseconds())
    return PREFIX + numbers + head.hash + origin.encode()


@dataclass(frozen=True)
class Signer:
    """A service with its key."""

    origin: str
    key: ec.EllipticCurvePrivateKey
    certificate: bytes
    """DER"""

    @classmethod
    def of(cls, credentials: Credentials) -> "Signer":
        """Whoever has these. Raises ValueError where the key is of another kind."""
        key = load_pem_private_key(credentials.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            problem = f"the key of {credentials.identity} cannot sign heads: it must be one of the curve P-256"
            raise ValueError(problem)  # noqa: TRY004 - of a file
        certificate = x509.load_pem_x509_certificate(credentials.certificate).public_bytes(Encoding.DER)
        return cls(credentials.identity.id, key, certificate)

    def sign(self, epoch: int, position: int, row_hash: bytes, at: datetime) -> JournalHead:
        """The head that names this row."""
        head = JournalHead(
            occurred_at=to_timestamp(to_micros(at)),
            epoch=epoch,
            position=position,
            hash=row_hash,
            algorithm=ALGORITHM,
            certificate=self.certificate,
        )
        head.signature = self.key.sign(signed_bytes(head, self.origin), ec.ECDSA(SHA256()))
        return head


class Authorities:
    """Who may vouch for a service."""

    def __init__(self, credentials: Credentials) -> None:
        self._domain = credentials.domain
        self._certificates = x509.load_pem_x509_certificates(credentials.ca)
        self._key_in = lru_cache(self._service_key)

    def problem(self, origin: str, head: JournalHead) -> str:
        """Why nobody should believe that this deployment has signed the head; empty where it has."""
        if head.algorithm != ALGORITHM or len(head.hash) != HASH_BYTES:
            return "it is signed in another way"
        try:
            key = self._key_in(head.certificate, origin)
            key.verify(head.signature, signed_bytes(head, origin), ec.ECDSA(SHA256()))
        except InvalidSignature:
            return "its signature is wrong"
        except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm, struct.error) as error:
            return str(error)
        return ""

    def _service_key(self, certificate: bytes, origin: str) -> ec.EllipticCurvePublicKey:
        found = x509.load_der_x509_certificate(certificate)
        if not any(issued_by(found, authority) for authority in self._certificates):
            raise ValueError("its signer's certificate is of an unknown authority")
        if Identity("service", origin).uri(self._domain) not in uris(found):
            raise ValueError(f"its signer's certificate is not that of {origin}")
        key = found.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("its signer's key is of another kind")  # noqa: TRY004 - of what was received
        return key
