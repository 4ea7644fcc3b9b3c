"""Every RPC of every server, by every kind of caller and by none, about a record of its own and about another's.

What is expected of a cell comes from the RPC's `access` option in the contract; each RPC needs a probe.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from clients.channel import SERVER_NAME
from clients.errors import NotFound, RongheError, error_of_status
from clients.identity import KINDS, Identity
from ronghe.access.v1.access_pb2 import Scope
from ronghe.operations.v1 import operations_service_pb2 as operations
from servers.rpc.access import method_name, rule_of
from tests.e2e.door import Door, Records, heads, knocking
from tests.e2e.drive import OPERATOR, SUBSYSTEMS, Mesh
from tests.e2e.probes import DONE, HIDDEN, PROBES, SHOWN, cases_of

NO_CERTIFICATE = ""
EVERYBODY = (*KINDS, NO_CERTIFICATE)
# What a server offers that the contract does not say: to any certificate of the deployment.
GRPCS_OWN = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")
# Whose inbox at which server has something of the records in it.
FILLED = {("intake", "service"), ("intake", "intake"), ("department", "organ"), ("governance", "center")}
# Services have taken everything already when they fetch.
EMPTIED = {("intake", "service")}
# Of collaborations the department server knows organs only, and governance leaves the commands to it.
ORGANS_ONLY = {("department", "center")}
AT_DEPARTMENT_ONLY = {"RequestCollaboration", "RecallCollaboration", "GetTask", "ListTasks", "SignForTask",
                      "AnswerTask", "ReturnTask"}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    server: str
    method: MethodDescriptor
    kind: str
    own: bool

    def __str__(self) -> str:
        record = "its own" if self.own else "another's"
        return f"{self.server} {method_name(self.method)} by {self.kind or 'nobody'} about {record} record"


@pytest.mark.parametrize("server", SUBSYSTEMS)
async def test_every_cell_is_as_the_contract_says(
    mesh: Mesh, records: Records, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    methods, before = await _methods(mesh, server), heads(mesh)
    cells = [Cell(server, method, kind, own) for method in methods for kind in EVERYBODY for own in (True, False)]

    try:
        found = await _visit(mesh, records, cells)
    finally:
        await _resume(mesh, server)

    wrong = [f"{cell}: {found[cell]}, not {_expected(cell)}" for cell in cells if not _is_as_expected(cell, found)]
    assert wrong == []
    assert heads(mesh) == before
    with capsys.disabled():
        print(f"\n{server}: {len(methods)} RPCs, {len(cells)} cells")


async def test_every_rpc_has_a_probe_and_every_probe_an_rpc(mesh: Mesh) -> None:
    offered = {method_name(method) for server in SUBSYSTEMS for method in await _methods(mesh, server)}
    assert offered == PROBES.keys()


# --- what is expected ---


def _expected(cell: Cell) -> str:
    grants = rule_of(cell.method).grants
    if cell.kind == NO_CERTIFICATE:
        return "UNAVAILABLE"
    if cell.kind not in grants:
        return "CALLER_KIND_NOT_ALLOWED"
    if cell.server == "governance" and cell.method.name in AT_DEPARTMENT_ONLY:
        return "METHOD_NOT_OFFERED"
    probe = PROBES[method_name(cell.method)]
    reaches = grants[cell.kind] == Scope.SCOPE_ALL or (cell.own and _has_something(cell))
    return probe.own if reaches else probe.foreign


def _has_something(cell: Cell) -> bool:
    """Whether this server has a record that is the caller's."""
    place = (cell.server, cell.kind)
    match cell.method.containing_service.name:
        case "InboxService":
            return place in FILLED and not (cell.method.name == "FetchInbox" and place in EMPTIED)
        case "CollaborationService":
            return place not in ORGANS_ONLY
        case _:
            return True


def _is_as_expected(cell: Cell, found: Mapping[Cell, str]) -> bool:
    return found[cell] in _expected(cell).split("|")


# --- what is found ---


async def _methods(mesh: Mesh, server: str) -> Sequence[MethodDescriptor]:
    """Every RPC that a server says it offers."""
    async with knocking(mesh, server, OPERATOR) as door:
        stub = reflection_pb2_grpc.ServerReflectionStub(door.channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        answers = [answer async for answer in stub.ServerReflectionInfo(asked)]
    names = [service.name for answer in answers for service in answer.list_services_response.service]
    pool = descriptor_pool.Default()
    return [method for name in names if name not in GRPCS_OWN for method in pool.FindServiceByName(name).methods]


async def _visit(mesh: Mesh, records: Records, cells: Sequence[Cell]) -> Mapping[Cell, str]:
    """Each party visits its cells one after another, all parties at once."""
    by_party: dict[tuple[str, Identity | None], list[Cell]] = {}
    for cell in cells:
        probe = PROBES[method_name(cell.method)]
        party = probe.parties(own=cell.own).get(cell.kind)
        by_party.setdefault((cell.server, party), []).append(cell)

    async def visit(server: str, party: Identity | None, its: Sequence[Cell]) -> Mapping[Cell, str]:
        async with _at(mesh, server, party) as door:
            return {cell: await _outcome(mesh, door, party, cell, records) for cell in its}

    visits = [visit(server, party, its) for (server, party), its in by_party.items()]
    return {cell: outcome for outcomes in await asyncio.gather(*visits) for cell, outcome in outcomes.items()}


@asynccontextmanager
async def _at(mesh: Mesh, server: str, party: Identity | None) -> AsyncIterator[Door]:
    if party is not None:
        async with knocking(mesh, server, party) as door:
            yield door
        return
    credentials = grpc.ssl_channel_credentials((mesh.pki / "ca.pem").read_bytes())
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    async with grpc.aio.secure_channel(mesh.addresses[server], credentials, options=options) as channel:
        yield Door(channel)


async def _outcome(mesh: Mesh, door: Door, party: Identity | None, cell: Cell, records: Records) -> str:
    probe, name = PROBES[method_name(cell.method)], method_name(cell.method)
    body = probe.request(records).SerializeToString()
    try:
        if cell.method.name == "OpenInbox":
            return await _replayed(mesh, door, party, cell, body, records)
        if cell.method.server_streaming:
            return await _first_answer(door, cell, body)
        answer = GetMessageClass(cell.method.output_type).FromString(await door.unary(name, body))
    except RongheError as error:
        return error.reason
    if DONE in probe.own:
        return DONE
    return SHOWN if probe.shows(answer, records) else HIDDEN


async def _first_answer(door: Door, cell: Cell, body: bytes) -> str:
    """What becomes of the one item of a bulk call."""
    async with aclosing(_answers(door, cell, body)) as answers:
        (answer,) = (await anext(answers)).results
    return error_of_status(answer.failed).reason if answer.WhichOneof("result") == "failed" else DONE


async def _replayed(mesh: Mesh, door: Door, party: Identity | None, cell: Cell, body: bytes, records: Records) -> str:
    """Whether a replay of the whole inbox has anything of the records: the first item of each case comes at once."""
    statement = "SELECT count(DISTINCT case_id) FROM inbox WHERE receiver = ?"
    ((waiting,),) = mesh.rows(cell.server, statement, str(party))
    seen: set[str] = set()
    async with aclosing(_answers(door, cell, body)) as answers:
        async for answer in answers:
            seen |= {item.event.case_id for item in answer.items}
            if len(seen) >= waiting:
                break
    return SHOWN if seen & cases_of(records) else HIDDEN


async def _answers(door: Door, cell: Cell, body: bytes) -> AsyncGenerator[Any, None]:
    stream = door.stream(method_name(cell.method))
    try:
        await stream.write(body)
        async with aclosing(stream.messages()) as answers:
            async for answer in answers:
                yield GetMessageClass(cell.method.output_type).FromString(answer)
    finally:
        stream.cancel()


async def _resume(mesh: Mesh, server: str) -> None:
    """Whatever the probes paused goes on."""
    request = PROBES["ronghe.operations.v1.OperationsService/ResumeBridge"]
    async with mesh.client(server, OPERATOR) as operator:
        for bridge in operations.Bridge.values()[1:]:
            resume: Any = request.request(None)  # type: ignore[arg-type]
            resume.bridge = bridge
            with suppress(NotFound):
                await operator.operations.resume_bridge(resume)
