"""Every field of every request with values that nobody expects there: an answer for each, and never a bug."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from clients.errors import RongheError
from tests.e2e.door import OURS, Records, knocking
from tests.e2e.drive import Mesh
from tests.e2e.mutations import mutations
from tests.e2e.probes import PROBES

# Where a service is asked; everything else at the center.
SERVERS: Mapping[str, str] = {
    "IntakeService": "intake",
    "DepartmentService": "department",
    "CollaborationService": "department",
    "OperationsService": "department",
}
STREAMS = {"OpenInbox", "SubmitApplications", "ExecuteCommands"}
# Enough calls at once to be quick, few enough to leave room for others.
AT_ONCE = 20


@pytest.mark.parametrize("method", [name for name in PROBES if name.rpartition("/")[2] not in STREAMS])
async def test_no_value_of_any_field_makes_a_bug(mesh: Mesh, records: Records, method: str) -> None:
    service, _, name = method.rpartition(".")[2].partition("/")
    probe = PROBES[method]
    parties = probe.parties(own=True)
    kind = "center" if service == "GovernanceService" else _kind(service)
    room, wrong = asyncio.Semaphore(AT_ONCE), []

    async with knocking(mesh, SERVERS.get(service, "governance"), parties[kind]) as door:

        async def send(what: str, request: Any) -> None:
            if "request_id" in request.DESCRIPTOR.fields_by_name and not what.startswith("request_id"):
                request.request_id = str(uuid4())
            async with room:
                try:
                    await door.unary(method, request.SerializeToString())
                except RongheError as error:
                    # A code in place of a reason is grpc's own word: the server's did not arrive.
                    if error.code in OURS or error.reason == error.code.name:
                        wrong.append(f"{name} with {what}: {error}")

        await asyncio.gather(*(send(what, request) for what, request in mutations(probe.request(records))))

    assert wrong == []


def _kind(service: str) -> str:
    """Who may call most of a service."""
    kinds = {"IntakeService": "terminal", "DepartmentService": "organ", "CollaborationService": "organ",
             "InboxService": "organ", "OperationsService": "operator"}  # fmt: skip
    return kinds.get(service, "auditor")
