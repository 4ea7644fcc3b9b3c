"""Who calls: read from the client's certificate, never from a request."""

from collections.abc import Iterable, Mapping

from clients.identity import Identity
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused

ALTERNATIVE_NAMES = "x509_subject_alternative_name"


def caller_of(auth_context: Mapping[str, Iterable[bytes]], domain: str) -> Identity:
    """The caller by the one `spiffe://<domain>/<kind>/<id>` of its certificate; raises Refused."""
    names = [name.decode() for name in auth_context.get(ALTERNATIVE_NAMES, ())]
    uris = [name for name in names if name.startswith("spiffe://")]
    if len(uris) != 1 or not uris[0].startswith(f"spiffe://{domain}/"):
        raise _unknown(domain)
    try:
        return Identity.from_uri(uris[0])
    except ValueError as error:
        raise _unknown(domain) from error


def _unknown(domain: str) -> Refused:
    return Refused(
        Reason.REASON_CALLER_UNKNOWN,
        f"the certificate carries no identity of this deployment: expected is one spiffe://{domain}/<kind>/<id>",
    )
