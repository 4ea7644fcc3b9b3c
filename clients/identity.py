"""Who a party is: the URI in its certificate, `spiffe://<domain>/<kind>/<id>`."""

from dataclasses import dataclass
from urllib.parse import urlsplit

KINDS = ("service", "terminal", "intake", "organ", "center", "operator", "auditor")


@dataclass(frozen=True, slots=True)
class Identity:
    """A party, by its kind and its id; its text is `<kind>/<id>`, for example `organ/fire-500103`."""

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.id}"

    def uri(self, domain: str) -> str:
        """The URI as it stands in the certificate."""
        return f"spiffe://{domain}/{self.kind}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Identity":
        """The identity of `<kind>/<id>`; ValueError when it is none."""
        kind, _, name = text.partition("/")
        if kind not in KINDS or not name:
            raise ValueError(f"{text!r} is not an identity: expected <kind>/<id> with a kind of {', '.join(KINDS)}")
        return cls(kind, name)

    @classmethod
    def from_uri(cls, uri: str) -> "Identity":
        """The identity of a SPIFFE URI; ValueError when it is none of ours."""
        parts = urlsplit(uri)
        if parts.scheme != "spiffe":
            raise ValueError(f"{uri!r} is not a spiffe:// URI")
        return cls.parse(parts.path.lstrip("/"))
