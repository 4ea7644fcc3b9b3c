"""Receivers of every bad kind, as the fault campaign plays them, before a real inbox: what they do leaves a proof."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from typing import Any

import grpc
import pytest

from clients.channel import open_channel
from faults.injections.readers import _write as write
from faults.injections.readers import is_held_back, slow_channel, unread
from faults.injections.receivers import CASES, KINDS, PAUSE_SECONDS, TWO_AT_ONCE, sessions
from faults.injections.receivers import OPEN as OPEN_INBOX
from servers.kernel import tables
from servers.kernel.inbox_service import InboxServicer
from servers.kernel.kernel import Kernel
from servers.rpc.server import serving
from tests.kernel.conftest import ALL, SERVER, Spans, Start
from tests.kernel.drive import execute, new_case, rows, step
from tests.unit.rpc_support import Authority

SECONDS, IN_VAIN_SECONDS = 30 * PAUSE_SECONDS, 5 * PAUSE_SECONDS
WANT_ITEMS = ("never acknowledges", "puts off for ever")


@asynccontextmanager
async def door(authority: Authority, *kernels: Kernel) -> AsyncIterator[Callable[[], grpc.aio.Channel]]:
    """Connections to the inbox of each of these in turn."""
    async with AsyncExitStack() as stack:
        credentials = authority.credentials(SERVER)
        servers = [
            await stack.enter_async_context(serving([InboxServicer(kernel)], "127.0.0.1:0", credentials, Spans()))
            for kernel in kernels
        ]
        ports = cycle([server.port for server in servers])
        yield lambda: open_channel(f"127.0.0.1:{next(ports)}", authority.credentials(ALL))


async def give(kernel: Kernel, **fields: Any) -> None:
    """An item of each of CASES cases."""
    for _ in range(CASES):
        await execute(kernel, step(new_case(), **fields))


@pytest.mark.parametrize("name", KINDS)
async def test_each_kind_of_misconduct_leaves_its_proof(name: str, kernel: Kernel, authority: Authority) -> None:
    kind = KINDS[name]
    await give(kernel)
    async with door(authority, kernel) as connect:
        found = await kind.play(connect, kind.conduct, SECONDS)
    assert kind.proof(found, SECONDS) == ""


@pytest.mark.parametrize("name", WANT_ITEMS)
async def test_who_is_given_nothing_has_done_nothing(name: str, kernel: Kernel, authority: Authority) -> None:
    kind = KINDS[name]
    async with door(authority, kernel) as connect:
        found = await kind.play(connect, kind.conduct, IN_VAIN_SECONDS)
    assert kind.proof(found, IN_VAIN_SECONDS) != ""


@pytest.mark.parametrize("name", KINDS)
async def test_where_nobody_listens_nothing_was_done(name: str, authority: Authority) -> None:
    found = await sessions(
        lambda: open_channel("127.0.0.1:1", authority.credentials(ALL)), KINDS[name].conduct, IN_VAIN_SECONDS
    )
    assert KINDS[name].proof(found, IN_VAIN_SECONDS) != ""


async def test_of_two_sessions_with_two_replicas_only_the_newer_one_lives(start: Start, authority: Authority) -> None:
    kind = KINDS[TWO_AT_ONCE]
    async with start() as one, start() as other:
        await give(one)
        async with door(authority, one, other) as connect:
            found = await kind.play(connect, kind.conduct, SECONDS)
        acknowledged = [row for row in await rows(one, tables.inbox) if row.acknowledged_at is not None]
    assert kind.proof(found, SECONDS) == ""
    assert not acknowledged


@pytest.mark.parametrize(("length", "is_held"), [(40_000, True), (10, False)])
async def test_more_than_can_be_sent_unread_is_held_back(
    length: int, is_held: bool, kernel: Kernel, authority: Authority
) -> None:
    await give(kernel, opinion="x" * length)
    async with (
        serving([InboxServicer(kernel)], "127.0.0.1:0", authority.credentials(SERVER), Spans()) as server,
        slow_channel(f"127.0.0.1:{server.port}", authority.credentials(ALL)) as channel,
    ):
        call = unread(channel, OPEN_INBOX)
        await write(call, OPEN_INBOX)
        assert await is_held_back(call) is is_held
        call.cancel()
