"""Bad input, and what it gets: code, reason, field, a sentence that says what to do, and nothing changed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.message import Message
from grpc import StatusCode

from clients.identity import Identity
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.catalog.v1 import catalog_service_pb2 as catalog
from ronghe.collaboration.v1 import collaboration_service_pb2 as collaboration
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.document.v1 import document_service_pb2 as documents
from ronghe.governance.v1 import governance_service_pb2 as governance
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.operations.v1 import operations_service_pb2 as operations
from tests.e2e.door import Records, knocking, refused
from tests.e2e.drive import TERMINAL, Mesh

INVALID, NOT_FOUND, ILLEGAL = StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND, StatusCode.FAILED_PRECONDITION
EXHAUSTED = StatusCode.RESOURCE_EXHAUSTED
FIELD, FORM, DIGIT, TIME = "INVALID_FIELD", "INVALID_FORM", "INVALID_CHECK_DIGIT", "OCCURRED_AT_OUT_OF_RANGE"


@dataclass(frozen=True)
class Bad:
    """A request, and what it gets."""

    what: str
    request: Callable[[Records], Message]
    code: StatusCode
    reason: str
    field: str = ""
    says: str = ""
    """Words of the sentence that tell what to do."""
    caller: Identity = TERMINAL


def each(*groups: Sequence[Bad]) -> pytest.MarkDecorator:
    """A test for each of them, under its name."""
    return pytest.mark.parametrize("bad", [pytest.param(bad, id=bad.what) for group in groups for bad in group])


SUBSYSTEMS = {
    "IntakeService": "intake",
    "DepartmentService": "department",
    "CollaborationService": "department",
    "GovernanceService": "governance",
}
SERVICES = {
    message.full_name: service
    for file in (intake, department, collaboration, governance, cases, documents, catalog, operations, inbox)
    for service in file.DESCRIPTOR.services_by_name.values()
    for message in (method.input_type for method in service.methods)
}


async def refusal(mesh: Mesh, request: Message, caller: Identity) -> Any:
    """The error that a request gets at the server that it is for; nothing has changed anywhere."""
    service = SERVICES[request.DESCRIPTOR.full_name]
    method = f"{service.full_name}/{request.DESCRIPTOR.name.removesuffix('Request')}"
    async with knocking(mesh, SUBSYSTEMS.get(service.name, "governance"), caller) as door:
        return await refused(mesh, lambda: door.unary(method, request.SerializeToString()))


async def check(mesh: Mesh, records: Records, bad: Bad) -> None:
    """It gets what it should."""
    error = await refusal(mesh, bad.request(records), bad.caller)
    assert (error.code, error.reason) == (bad.code, bad.reason), error
    assert ([one.field for one in error.violations[:1]] or [""]) == [bad.field], error
    said = " ".join([error.message, *(one.description for one in error.violations)])
    assert bad.says in said
    assert len(error.message) < 700
