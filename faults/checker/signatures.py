"""Every head of a journal is its origin's own: signed by a key that the mesh's authority gave it for its name."""

import re
import struct
from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from faults.checker.history import Event, History, Kind, Problem


def check(history: History) -> Iterator[Problem]:
    """Each head in whichever journal, as the contract says what is signed: ronghe/event/v1/event.proto, JournalHead."""
    if history.authority is None:
        return
    for journal in history.journals.values():
        for event in journal.events.values():
            if event.is_head and event.id not in history.poison:
                problem = _problem(event, history.authority)
                if problem:
                    yield Problem(Kind.ALTERED, journal.subsystem, f"a head of {event.origin}: {problem}")


def _problem(event: Event, authority: x509.Certificate) -> str:
    head = event.fact
    if head.algorithm != "ECDSA-P256-SHA256" or len(head.hash) != 32:
        return "signed in another way"
    signed = b"ronghe journal head 1\0"
    signed += struct.pack(">QQq", head.epoch, head.position, head.occurred_at.ToMicroseconds())
    signed += head.hash + event.origin.encode()
    try:
        certificate = x509.load_der_x509_certificate(head.certificate)
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = certificate.public_key()
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        return f"its certificate: {type(error).__name__}"
    is_its_own = re.compile(rf"spiffe://[^/]+/service/{re.escape(event.origin)}").fullmatch
    if not any(map(is_its_own, names.get_values_for_type(x509.UniformResourceIdentifier))):
        return "signed in another's name"
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return "signed by a key of another kind"
    try:
        key.verify(head.signature, signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return "its signature is wrong"
    return ""
