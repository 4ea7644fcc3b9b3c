"""Readers that do not read: what is sent to them piles up, and must stay bounded."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import grpc

from clients.channel import SERVER_NAME
from clients.credentials import Credentials
from clients.identity import Identity
from clients.stream import ENDED
from faults.injections.backlog import waiting
from faults.injections.callers import SUBMIT_MANY
from faults.injections.disturbance import undisturbed
from faults.injections.processes import nobody_dies
from faults.injections.receivers import CREDIT, KINDS, OPEN
from faults.injections.stage import Injection, NotInjected, Stage
from faults.load.applications import Desk
from faults.load.cast import CITY, DESKS, TERMINAL
from faults.mesh import SUBSYSTEMS
from faults.processes import memory_of
from ronghe.catalog.v1.catalog_service_pb2 import ListServiceItemsRequest
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.party.v1.party_pb2 import FormValue

EXECUTE_MANY = "/ronghe.department.v1.DepartmentService/ExecuteCommands"
LIST_ITEMS = "/ronghe.catalog.v1.CatalogService/ListServiceItems"
WINDOW_BYTES = 1024
"""Of an answer that is not read so much is taken, and no more."""
MESSAGES, TOGETHER = 5, 20
"""On a bulk stream, and items in each of them: answers of 150 KiB, more than the server can send unread."""
BACKLOG = 2
"""Long items, of a case each, that wait for a slow reader: together more than the library lets wait for a stream."""
WINDOW = 64 * 1024
"""Bytes that the library lets wait for a stream by itself: of a message that is longer a part is held back."""
READ_SECONDS = 10.0
EACH_SECONDS = 0.01
"""Slow readers come one after another."""
AGAIN_SECONDS, MOST_TURNED_AWAY = 1.0, 5
"""Where a server is crowded it turns some away: they come again after so long, so many times at most."""
MOST_GROWTH = 256 * 1024 * 1024
"""Bytes by which a process may grow for slow readers."""


def slow_readers(count: int, seconds: float) -> Injection:
    """So many open calls of every kind; none is read. Memory must stay bounded, and the load must not notice."""

    async def inject(stage: Stage) -> None:
        desks = _desks(stage)
        async with waiting(stage, desks, BACKLOG, long=True):
            await _read_slowly(stage, [desk.organ for desk in desks], count, seconds)

    return inject


async def _read_slowly(stage: Stage, waited_for: Sequence[Identity], count: int, seconds: float) -> None:
    """Among them are sessions of organs for which more waits than can be sent without their reading it."""
    sizes = {name: memory_of(stage.mesh.pid(name)) for name in SUBSYSTEMS}
    async with undisturbed(stage, "slow readers"), AsyncExitStack() as stack:
        stack.enter_context(nobody_dies(stage))
        readers: list[tuple[grpc.aio.Channel, str]] = []
        for subsystem, party, kind, number in _readers(stage, waited_for, count):
            credentials = Credentials.load(stage.mesh.data / "pki", party)
            channel = slow_channel(stage.mesh.addresses[subsystem], credentials)
            readers += [(await stack.enter_async_context(channel), kind)] * number
        calls = await begun(readers)
        await asyncio.sleep(seconds)
        open_ones = sum(not call.done() for call in calls)
        grown = {name: (memory_of(stage.mesh.pid(name)) - size) / 2**20 for name, size in sizes.items()}
        held_back = await asyncio.gather(*map(is_held_back, calls[: len(waited_for)]))
        for call in calls:
            call.cancel()
    stage.figures |= {f"slow readers: {name} grew by MiB": round(size, 1) for name, size in grown.items()}
    stage.figures |= {"slow readers": open_ones, "of them with items that were held back": sum(held_back)}
    if open_ones < count:
        raise NotInjected(f"{open_ones} of {count} calls stayed open: somebody read what was sent, or was refused")
    if not all(held_back):
        raise NotInjected(f"of {len(held_back)} inboxes in which much waits {sum(held_back)} were held back")
    fat = [f"{name} grew by {size:.0f} MiB" for name, size in grown.items() if size > MOST_GROWTH / 2**20]
    if fat:
        raise NotInjected(f"{', '.join(fat)} for readers that do not read")


def _desks(stage: Stage) -> Sequence[Desk]:
    """Those of organs that have no other part, and whose items have texts."""
    return [
        Desk(item, path.stem.removeprefix(f"{name}-"), path.stem)
        for name, (item, digits) in LEADS.items()
        for path in sorted((stage.mesh.data / "pki" / "organ").glob(f"{name}-{'[0-9]' * digits}.pem"))
        if path.stem not in stage.load.cast.organs and not path.stem.endswith(ELSEWHERE)
    ]


LEADS: Mapping[str, tuple[str, int]] = {
    "market-reg": ("IT-027", 9),
    "culture": ("IT-014", 6),
    "ecology": ("IT-022", 6),
    "econ-info": ("IT-017", 6),
    "health": ("IT-013", 6),
}
"""Department -> an item that it leads, and the digits of the divisions where it does."""
ELSEWHERE = (CITY, "500105", "500112")
"""Where it does not: of these divisions the last two have been made one."""


def _readers(stage: Stage, waited_for: Sequence[Identity], count: int) -> list[tuple[str, Identity, str, int]]:
    """(subsystem, party, method, calls): full inboxes and those of who has no part, long lists, and bulk streams."""
    cast: Any = stage.load.cast
    busy = {*waited_for, *(kind.desk.organ for kind in KINDS.values())}
    busy |= {Identity("center", name) for name in cast.centers} | {Identity("organ", name) for name in cast.organs}
    full = [("department", party, OPEN, 1) for party in waited_for]
    idle = [
        (subsystem, party, OPEN, 1)
        for subsystem, kind in (("governance", "center"), ("department", "organ"))
        for path in sorted((stage.mesh.data / "pki" / kind).glob("*.pem"))
        if (party := Identity(kind, path.stem)) not in busy
    ]
    inboxes = [*full, *idle][: count // 4]
    organ, bulk = DESKS[0].organ, count // 10
    rest = count - len(inboxes) - 2 * bulk
    return [
        *inboxes,
        ("intake", TERMINAL, LIST_ITEMS, rest // 2),
        ("department", organ, LIST_ITEMS, rest - rest // 2),
        ("intake", TERMINAL, SUBMIT_MANY, bulk),
        ("department", organ, EXECUTE_MANY, bulk),
    ]


async def is_held_back(call: Any) -> bool:
    """Whether an inbox that nobody has read yet has more in its first items than could be sent without that."""
    with suppress(*ENDED, TimeoutError):
        async with asyncio.timeout(READ_SECONDS):
            _, items = await call.read(), await call.read()
            return isinstance(items, bytes) and len(items) > WINDOW
    return False


def slow_channel(address: str, credentials: Credentials) -> grpc.aio.Channel:
    """One that takes next to nothing of an answer that is not read: what was sent waits where it came from."""
    tls = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)
    options = [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        ("grpc.http2.bdp_probe", 0),  # else the library takes ever more
    ]
    return grpc.aio.secure_channel(address, tls, options=options)


async def begun(readers: Sequence[tuple[grpc.aio.Channel, str]]) -> Sequence[Any]:
    """A call for each; those that a crowded server turns away come again."""
    calls = [await _begun(*reader) for reader in readers]
    for _ in range(MOST_TURNED_AWAY):
        await asyncio.sleep(AGAIN_SECONDS)
        calls = [await _begun(*reader) if call.done() else call for call, reader in zip(calls, readers, strict=True)]
    return calls


async def _begun(channel: grpc.aio.Channel, kind: str) -> Any:
    """A call that has asked for something; where that fails it is not open."""
    call = unread(channel, kind)
    with suppress(*ENDED):
        await _write(call, kind)
    await asyncio.sleep(EACH_SECONDS)  # what they ask for is not the trouble, but what is not read
    return call


def unread(channel: grpc.aio.Channel, kind: str) -> Any:
    """A call whose answers nobody asks for."""
    if kind == LIST_ITEMS:
        listing: Any = channel.unary_stream(kind)
        return listing(ListServiceItemsRequest(page_size=500).SerializeToString())
    method: Any = channel.stream_stream(kind)
    return method()


async def _write(call: Any, kind: str) -> None:
    """The opening of an inbox, or requests that are refused at length: their answers wait."""
    if kind == OPEN:
        body = inbox.OpenInboxRequest(open=inbox.OpenInboxRequest.Open(credit=CREDIT)).SerializeToString()
        await call.write(body)
    elif kind in INVALID:
        for _ in range(MESSAGES):
            await call.write(INVALID[kind])


_APPLICATION = intake.SubmitApplicationRequest(form=[FormValue(name="\0")] * 20)
_COMMAND = department.ExecuteCommandsRequest.Command(
    decide_application=department.DecideApplicationRequest(basis=["\0"] * 20)
)
INVALID = {
    SUBMIT_MANY: intake.SubmitApplicationsRequest(applications=[_APPLICATION] * TOGETHER).SerializeToString(),
    EXECUTE_MANY: department.ExecuteCommandsRequest(commands=[_COMMAND] * TOGETHER).SerializeToString(),
}
"""Nothing can be accepted of it; each item is answered with a list of what is wrong."""
