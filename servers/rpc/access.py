"""Who may call what: the contract's `access` option of each RPC."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from clients.identity import Identity
from ronghe.access.v1.access_pb2 import Kind, Scope, access
from ronghe.error.v1.reason_pb2 import Reason
from servers.kernel.stream import Refused


class MissingRule(Exception):
    """An RPC of the contract says nobody may call it: it has no `ronghe.access.v1.access` option with a grant."""

    def __init__(self, method: str) -> None:
        super().__init__(f"{method} has no option (ronghe.access.v1.access) with a grant: the server does not start")


@dataclass(frozen=True, slots=True)
class Rule:
    """The grants of one RPC: kind of caller -> scope."""

    method: str
    grants: Mapping[str, "Scope.ValueType"]

    def scope_of(self, caller: Identity) -> "Scope.ValueType":
        """Which records this caller reaches; raises Refused when its kind may not call at all."""
        scope = self.grants.get(caller.kind)
        if scope is None:
            raise Refused(
                Reason.REASON_CALLER_KIND_NOT_ALLOWED,
                f"a caller of kind {caller.kind} may not call {self.method}; allowed: {', '.join(sorted(self.grants))}",
                {"kind": caller.kind, "method": self.method},
            )
        return scope


def method_name(method: MethodDescriptor) -> str:
    """For example "ronghe.intake.v1.IntakeService/SubmitApplication"."""
    return f"{method.containing_service.full_name}/{method.name}"


def rule_of(method: MethodDescriptor) -> Rule:
    """The rule of an RPC; raises MissingRule."""
    grants = method.GetOptions().Extensions[access].grants
    rule = Rule(method_name(method), {_kind(grant.kind): grant.scope for grant in grants})
    if not rule.grants:
        raise MissingRule(rule.method)
    return rule


def _kind(kind: "Kind.ValueType") -> str:
    return Kind.Name(kind).removeprefix("KIND_").lower()
