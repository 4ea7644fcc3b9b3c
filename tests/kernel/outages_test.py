"""A database that stands still: whoever calls is told before he gives up, and a repeat tells what became of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from bridge.ports import StoreUnavailable
from clients.telemetry import SpanContext
from ronghe.access.v1.access_pb2 import Scope
from ronghe.document.v1 import document_pb2
from ronghe.error.v1.reason_pb2 import Reason
from servers.audit.accesses import Accesses
from servers.intake.lookup import QueryCodeLookup
from servers.intake.query_code import QueryCodes
from servers.kernel import kernel as kernels
from servers.kernel import tables
from servers.kernel.database import Database
from servers.kernel.inbox import Acknowledgement
from servers.kernel.kernel import Kernel
from servers.kernel.stream import Refused
from servers.rpc.call import Call
from tests.kernel.drive import ORGAN, execute, new_case, one_batch, rows, step


@contextmanager
def held(url: str) -> Iterator[None]:
    """Somebody else has the journal, and does not let go of it."""
    database = Database(url)
    lock = "SELECT 1" if database.is_sqlite else "SELECT * FROM journal_head FOR UPDATE"
    try:
        with database.writer.connect() as connection, connection.begin():
            connection.exec_driver_sql(lock)
            yield
    finally:
        database.close()


async def test_a_call_is_answered_before_its_deadline_and_its_repeat_has_one_effect(
    kernel: Kernel, database_url: str
) -> None:
    command = step(new_case())
    with held(database_url):
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="in time"):
            await execute(kernel, command, seconds=2)
        assert time.monotonic() - started < 2
    first = await execute(kernel, command)
    assert await execute(kernel, command) == first


async def test_a_read_that_gets_no_answer_ends(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "READ_SECONDS", 0.5)
    with pytest.raises(StoreUnavailable, match="in time"):
        await kernel.read(lambda connection: time.sleep(2))


class NoCases:
    """A view in which nothing is found."""

    def find(self, *_: object, **__: object) -> Any:
        raise Refused(Reason.REASON_CASE_NOT_FOUND, "there is none")


def record(kernel: Kernel, call: Call) -> Awaitable[object]:
    """A read of personal data."""
    shown = document_pb2.Addressee(name="Zhang San")
    return Accesses(kernel).recorded(shown, new_case(), call)


def look_up(kernel: Kernel, call: Call) -> Awaitable[object]:
    """A guess."""
    view: Any = NoCases()
    return QueryCodeLookup(kernel, view, QueryCodes(b"x" * 32)).find("1", "2", call)


def acknowledge(kernel: Kernel, call: Call) -> Awaitable[object]:
    """As AckInbox does."""
    return kernel.acknowledge(Acknowledgement("organ/all", "fetch", [1], []), call.deadline)


CAUSED = [record, look_up, acknowledge]
NO_TURN = "the call's turn did not come in its time: try again later"


def called(seconds: float) -> Call:
    span = SpanContext(1, 1)
    return Call(ORGAN, Scope.SCOPE_OWN, "a method", time.monotonic() + seconds, span)


async def outcomes(caused: Callable[[Kernel, Call], Awaitable[object]], kernel: Kernel, count: int) -> Sequence[Any]:
    """Of so many calls at once that have little time."""
    async with asyncio.timeout(5):
        calls = (caused(kernel, called(seconds=0.4)) for _ in range(count))
        return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize("caused", CAUSED)
async def test_what_a_caller_has_written_is_given_up_with_him(
    kernel: Kernel, caused: Callable[[Kernel, Call], Awaitable[object]]
) -> None:
    """He is told in time, and what he waited for is not done after him."""
    await execute(kernel, step(new_case()))
    await kernel.open_session("organ/all", "fetch", epoch=0)
    before = [await rows(kernel, table) for table in (tables.access, tables.counter, tables.inbox)]
    async with one_batch(kernel):
        ended = await outcomes(caused, kernel, 100)
    assert {str(outcome) for outcome in ended} == {NO_TURN}
    await kernel.write(lambda connection: None)  # comes after all that waited
    assert [await rows(kernel, table) for table in (tables.access, tables.counter, tables.inbox)] == before


@pytest.mark.parametrize("caused", CAUSED)
async def test_what_callers_have_written_is_bounded_and_those_that_gave_up_take_nobodys_place(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, caused: Callable[[Kernel, Call], Awaitable[object]]
) -> None:
    monkeypatch.setattr("servers.kernel.writer.MAX_WAITING_CALLS", 3)
    async with one_batch(kernel):
        for _ in range(2):
            ended = await outcomes(caused, kernel, 20)
            assert sum(str(outcome) == NO_TURN for outcome in ended) == 3
            assert [outcome.reason for outcome in ended] == [Reason.REASON_OVERLOADED] * 20
