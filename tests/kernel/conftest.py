import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from clients.identity import Identity
from servers.kernel.kernel import Kernel, running
from servers.kernel.subsystem import Subsystem
from tests import postgres
from tests.kernel.toy import toy
from tests.unit.rpc_support import Authority

ALL, SERVER = Identity("organ", "all"), Identity("service", "department-09")
Start = Callable[..., AbstractAsyncContextManager[Kernel]]


class Spans:
    """Keeps what it is handed."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def record(self, name: str, context: Any, **fields: Any) -> None:
        self.records.append({"name": name, "context": context, **fields})


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    folder = postgres.binaries()
    if folder is None:
        if os.environ.get("RONGHE_REQUIRE_POSTGRES"):
            pytest.fail("RONGHE_REQUIRE_POSTGRES is set and no PostgreSQL is installed")
        pytest.skip("PostgreSQL is not installed")
    with postgres.server(folder) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind: the suite holds for both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'kernel.db'}"
    return postgres.new_database(request.getfixturevalue("postgres_url"), f"k{uuid4().hex}")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "pki")
    made.issue(ALL)
    made.issue(SERVER)
    return made


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def start(database_url: str, spans: Spans) -> Start:
    """Starts a kernel on the database; several are replicas."""

    @asynccontextmanager
    async def started(subsystem: Subsystem | None = None, **options: Any) -> AsyncIterator[Kernel]:
        async with running(database_url, subsystem or toy(), spans, **options) as kernel:
            yield kernel

    return started


@pytest.fixture
async def kernel(start: Start) -> AsyncIterator[Kernel]:
    async with start() as running_kernel:
        yield running_kernel
