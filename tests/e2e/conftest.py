import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from clients.demo.plan import Desk
from clients.demo.run import find_desks
from clients.identity import Identity
from servers.mesh.pki import issue_all
from tests.collector import Collector, collecting
from tests.e2e.door import PARTIES, Records, make_records
from tests.e2e.drive import Mesh, running_mesh

STRANGERS = (Identity("intake", "elsewhere"), Identity("terminal", "elsewhere"))


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where the mesh sends its metrics."""
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Mesh]:
    """One mesh for all tests, stopped in good order at the end."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:  # the mesh inherits it; other tests of this process do not
            patch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", collector.url)
            started = stack.enter_context(running_mesh(tmp_path_factory.mktemp("mesh")))
        issue_all(started.pki, STRANGERS)
        yield started
        status, output, errors = started.stop()
    assert (status, errors) == (0, "")
    assert output.endswith("stopping\n")


@pytest.fixture(scope="session")
def desks(mesh: Mesh) -> Sequence[Desk]:
    """Different organs, each with an item that it leads."""

    async def find() -> Sequence[Desk]:
        async with mesh.intake() as terminal:
            return await find_desks(terminal)

    return asyncio.run(find())


@pytest.fixture(scope="module")
def records(mesh: Mesh) -> Records:
    """Cases of every state, with whatever hangs on them, and a certificate for everybody around them."""
    issue_all(mesh.pki, PARTIES)
    return asyncio.run(make_records(mesh))
