"""Three toy subsystems with real servers and certificates, and the command line against them."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import CliRunner, Result

from clients.cli.main import build
from clients.identity import Identity
from servers.rpc.server import Limits, serving
from servers.rpc.wrapper import Servicer
from tests.unit import cli_toys as toys
from tests.unit.rpc_support import Authority, SpanList


@dataclass
class ToySubsystem:
    """One server's servicers."""

    name: str
    intake: toys.ToyIntake = field(default_factory=toys.ToyIntake)
    department: toys.ToyDepartment = field(default_factory=toys.ToyDepartment)
    governance: toys.ToyGovernance = field(default_factory=toys.ToyGovernance)
    collaborations: toys.ToyCollaborations = field(default_factory=toys.ToyCollaborations)
    inbox: toys.ToyInbox = field(default_factory=toys.ToyInbox)
    catalog: Servicer = field(default_factory=toys.ToyCatalog)

    def __post_init__(self) -> None:
        self.cases = toys.ToyCases(self.origin)
        self.operations = toys.ToyOperations(self.origin)

    @property
    def origin(self) -> str:
        return f"{self.name}-01"

    def servicers(self) -> Sequence[Servicer]:
        own: dict[str, Sequence[Servicer]] = {
            "intake": [self.intake],
            "governance": [self.governance, self.collaborations],
            "department": [self.department, self.collaborations],
        }
        return [self.cases, self.operations, self.inbox, self.catalog, toys.ToyDocuments(), *own[self.name]]


@dataclass
class ToyMesh:
    """A data directory, and the servers it names."""

    data: Path
    intake: ToySubsystem
    governance: ToySubsystem
    department: ToySubsystem


@contextmanager
def toy_mesh(data: Path, catalog: Servicer | None = None) -> Iterator[ToyMesh]:
    """Serve on a thread of its own, a real catalog where one is given: commands run their own loops."""
    subsystems = [
        ToySubsystem(name, catalog=catalog or toys.ToyCatalog()) for name in ("intake", "governance", "department")
    ]
    authority = Authority(data / "pki")
    for identity in (*toys.CALLERS, *(Identity("service", each.origin) for each in subsystems)):
        authority.issue(identity)
    ready, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(data, authority, subsystems, ready, stop)))
    thread.start()
    try:
        assert ready.wait(10)
        yield ToyMesh(data, *subsystems)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def _serve(
    data: Path, authority: Authority, subsystems: Sequence[ToySubsystem], ready: threading.Event, stop: asyncio.Event
) -> None:
    async with AsyncExitStack() as stack:
        endpoints = {}
        for each in subsystems:
            credentials = authority.credentials(Identity("service", each.origin))
            server = serving(each.servicers(), "127.0.0.1:0", credentials, SpanList(), limits=Limits(grace=1.0))
            port = (await stack.enter_async_context(server)).port
            endpoints[each.name] = {"address": f"127.0.0.1:{port}", "pid": 1}
        (data / "run").mkdir()
        (data / "run" / "endpoints.json").write_text(json.dumps(endpoints))
        ready.set()
        await stop.wait()


def ronghe(data: Path, *arguments: str, **environment: str | None) -> Result:
    """Run a command; None takes a variable away."""
    found = {"RONGHE_DATA": str(data), "COLUMNS": "160", **environment}
    return CliRunner().invoke(build(), list(arguments), env=found)


def said(result: Result) -> str:
    """What a command printed that went well."""
    assert result.exit_code == 0, result.stderr
    return result.stdout


def complaint(result: Result) -> str:
    """The one sentence of a command that failed."""
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    return result.stderr.strip()
