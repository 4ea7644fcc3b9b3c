"""Every RPC there is, from the generated stubs."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from ronghe.access.v1.access_pb2 import Kind, access

AREAS = ["audit", "case", "catalog", "collaboration", "department", "document", "governance", "inbox", "intake"]
AREAS += ["operations"]


def methods() -> Sequence[MethodDescriptor]:
    """Of all services."""
    stubs = [import_module(f"ronghe.{area}.v1.{area}_service_pb2") for area in AREAS]
    services = [service for stub in stubs for service in stub.DESCRIPTOR.services_by_name.values()]
    return [method for service in services for method in service.methods]


def allowed(method: MethodDescriptor, kind: str) -> bool:
    """Whether parties of this kind ("organ") may call it."""
    grants = method.GetOptions().Extensions[access].grants
    return any(Kind.Name(grant.kind) == f"KIND_{kind.upper()}" for grant in grants)


def carried(method: MethodDescriptor) -> Mapping[str, Sequence[int]]:
    """Full name of each request that a call of it can carry -> the numbers of the fields around that.

    A unary call carries its own. A bulk call carries those of unary calls, or messages that hold one of several.
    """
    if not method.client_streaming:
        return {method.input_type.full_name: ()}
    found: dict[str, Sequence[int]] = {}
    for items in method.input_type.fields:
        if not items.is_repeated:
            continue
        item: Any = items.message_type
        if "request_id" in item.fields_by_name:
            found[item.full_name] = (items.number,)
        else:
            found |= {each.message_type.full_name: (items.number, each.number) for each in item.fields}
    return found
