"""An operator at a kernel's real door, and its bridges."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from clients.identity import Identity
from clients.operations import OperationsClient
from clients.subsystem import SubsystemClient
from ronghe.operations.v1 import operations_service_pb2 as pb
from ronghe.party.v1.party_pb2 import Officer
from servers.kernel.bridges import Bridges, Work
from servers.kernel.kernel import Kernel
from servers.kernel.operations import OperationsServicer
from servers.kernel.signing import Authorities
from servers.rpc.paging import Pages
from servers.rpc.server import serving
from tests.kernel.conftest import Spans
from tests.unit.rpc_support import Authority

SERVER = Identity("service", "department-09")
OPERATOR, AUDITOR = Identity("operator", "local"), Identity("auditor", "local")
OFFICER = Officer(id="0042", name="王敏")


def told(request: Any, **fields: Any) -> Any:
    """A request of an operator with who acts, and why."""
    common = {"request_id": str(uuid4()), "actor": OFFICER, "reason": "按值班手册处理"} | fields
    found = request(**common)
    found.occurred_at.GetCurrentTime()
    return found


@dataclass(eq=False)
class Standing:
    """A bridge that notes whether it runs."""

    running: bool = False
    starts: int = 0

    async def run(self) -> None:
        self.running, self.starts = True, self.starts + 1
        try:
            await asyncio.Event().wait()
        finally:
            self.running = False


@dataclass
class Door:
    """A server over a kernel."""

    port: int
    pki: Path
    bridges: Mapping[Any, Standing] = field(default_factory=dict)

    @asynccontextmanager
    async def open(self, identity: Identity = OPERATOR) -> AsyncIterator[OperationsClient]:
        async with SubsystemClient(f"127.0.0.1:{self.port}", self.pki, identity) as client:
            yield client.operations


@asynccontextmanager
async def door(
    kernel: Kernel, folder: Path, works: Mapping[Any, Work] | None = None, authority: Authority | None = None
) -> AsyncIterator[Door]:
    """Serve OperationsService, with bridges that only stand there unless real ones are given."""
    authority = authority or Authority(folder)
    for identity in (SERVER, OPERATOR, AUDITOR):
        authority.issue(identity)
    standing = {bridge: Standing() for bridge in (pb.BRIDGE_RELAY, pb.BRIDGE_CONSUMER)}
    bridges = Bridges(kernel, works or {bridge: one.run for bridge, one in standing.items()})
    authorities = Authorities(authority.credentials(SERVER))
    servicer = OperationsServicer(kernel, Pages(b"0" * 32), bridges, authorities, [], lambda status: None, lambda: 0)
    tasks = [asyncio.create_task(work) for work in bridges.running()]
    try:
        async with serving([servicer], "127.0.0.1:0", authority.credentials(SERVER), Spans()) as server:
            yield Door(server.port, authority.pki, standing)
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
