"""Every RPC there is, from the generated stubs."""

from collections.abc import Sequence
from importlib import import_module

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
