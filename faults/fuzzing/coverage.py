"""Which RPCs were called, and how they were answered."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.descriptor import MethodDescriptor
from grpc import StatusCode

OK, STREAM = "OK", "STREAM"
NOT_CALLED = frozenset(
    code.name for code in (StatusCode.UNIMPLEMENTED, StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED)
)
"""Such an answer says nothing of the RPC: there is none, or it is not the caller's."""
REACHED = frozenset({OK, STREAM, StatusCode.FAILED_PRECONDITION.name})
"""What was answered so was understood, and done, or refused by the rules."""


@dataclass
class Coverage:
    """What was answered, RPC by RPC; of a bulk call's items as well."""

    calls: Mapping[str, Counter[str]]
    """RPC -> "OK", or a code of gRPC -> calls. "STREAM": it was left, or had ended, in the middle."""
    items: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """As above, of what a bulk call carries."""

    @classmethod
    def of(cls, every: Iterable[MethodDescriptor]) -> "Coverage":
        """Nothing yet."""
        return cls({method.full_name: Counter() for method in every})

    @property
    def totals(self) -> Counter[str]:
        """Of all RPCs."""
        return sum(self.calls.values(), Counter[str]())

    @property
    def uncalled(self) -> Sequence[str]:
        """RPCs that no server that has them was asked, by anybody who may ask."""
        return [name for name, codes in self.calls.items() if not codes.keys() - NOT_CALLED]

    @property
    def unreached(self) -> Sequence[str]:
        """RPCs of which no request got past the checks of its form: read, or come to the rules; in bulk, its items."""
        return [name for name, codes in self.calls.items() if not (self.items.get(name) or codes).keys() & REACHED]

    def report(self) -> Mapping[str, Mapping[str, Mapping[str, int]] | Sequence[str]]:
        """How many were accepted, and how many refused, by their codes."""
        return {"calls": self.calls, "items of bulk calls": self.items, "unreached": self.unreached}
