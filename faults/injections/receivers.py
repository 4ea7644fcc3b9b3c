"""Partners of every bad kind: receivers that break every rule, readers that do not read, callers that vanish."""

import asyncio
import sqlite3
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import replace
from random import Random
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from clients.base import completed
from clients.channel import SERVER_NAME, open_channel
from clients.credentials import Credentials
from clients.department import DepartmentClient
from clients.identity import Identity
from faults.injections.processes import nobody_dies
from faults.injections.stage import Injection, NotInjected, Stage
from faults.load.applications import Desk
from faults.load.caller import marked
from faults.load.case import Case
from faults.load.cast import DESKS, TERMINAL
from faults.load.courses import denied, granted, refused
from faults.load.parties import Receiver
from faults.mesh import SUBSYSTEMS
from faults.processes import memory_of
from faults.proxy import proxies
from ronghe.catalog.v1.catalog_service_pb2 import ListServiceItemsRequest
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.party.v1.party_pb2 import FormValue

OPEN = "/ronghe.inbox.v1.InboxService/OpenInbox"
SUBMIT_MANY = "/ronghe.intake.v1.IntakeService/SubmitApplications"
EXECUTE_MANY = "/ronghe.department.v1.DepartmentService/ExecuteCommands"
LIST_ITEMS = "/ronghe.catalog.v1.CatalogService/ListServiceItems"
CASES = 5
"""Wait for each hostile receiver."""
CREDIT = 100
WINDOW_BYTES = 1024
"""Of an answer that is not read so much is taken, and no more."""
TOGETHER = 20
"""Items in each of CASES messages of a bulk stream: answers of 150 KiB, more than the server can send unread."""
EACH_SECONDS = 0.01
"""Slow readers come one after another."""
MOST_GROWTH = 256 * 1024 * 1024
"""Bytes by which a process may grow for slow readers."""
PAUSE_SECONDS = 0.1
"""From the beginning of a session to that of the next one: ten times a second."""
END_SECONDS = 60.0
"""Within which the cases of a hostile receiver end once it has come to its senses."""
BASELINE_SECONDS = 3.0
SLOWER, LEAST = 5.0, 1.0
"""The rest of the load is disturbed where its median latency grows so many times, beyond so many seconds."""

Say = Callable[[inbox.OpenInboxRequest], Awaitable[None]]
Answers = AsyncIterator[inbox.OpenInboxResponse]
Conduct = Callable[[Say, Answers], Awaitable[None]]
"""What a receiver does with one session."""


# --- how a receiver may behave ---
ENDED = (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""What writing to a call meets that is over."""


async def never_acknowledges(say: Say, answers: Answers) -> None:
    """Reads on and on."""
    async for _ in answers:
        pass


async def acknowledges_what_it_never_got(say: Say, answers: Answers) -> None:
    """First what waits for it, unseen, then what is not there at all: the session ends with that."""
    await say(_said(range(1, CASES + 1)))
    await say(_said([10**9]))
    async for _ in answers:
        pass


async def puts_off_for_ever(say: Say, answers: Answers) -> None:
    """Each item, as soon as it comes."""
    async for answer in answers:
        nacks = [inbox.Nack(sequence=item.sequence, delay=Duration(nanos=50_000_000)) for item in answer.items]
        await say(inbox.OpenInboxRequest(acknowledge=inbox.OpenInboxRequest.Acknowledge(nacks=nacks)))


async def comes_and_goes(say: Say, answers: Answers) -> None:
    """It stays for half of the time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PAUSE_SECONDS / 2):
            async for _ in answers:
                pass


KINDS: Mapping[str, tuple[Conduct, Desk]] = {
    "never acknowledges": (never_acknowledges, Desk("IT-003", "500104", "urban-mgmt-500104")),
    "acknowledges what it never got": (acknowledges_what_it_never_got, Desk("IT-003", "500107", "urban-mgmt-500107")),
    "puts off for ever": (puts_off_for_ever, Desk("IT-003", "500108", "urban-mgmt-500108")),
    "reconnects ten times a second": (comes_and_goes, Desk("IT-003", "500110", "urban-mgmt-500110")),
    "holds two sessions": (never_acknowledges, Desk("IT-003", "500113", "urban-mgmt-500113")),
}
"""What a receiver does -> how, and whose inbox it is: each an organ that has no other part."""


def hostile(names: Sequence[str], seconds: float) -> Injection:
    """All of these at once, beside a load that must not notice; then they come to their senses."""

    async def inject(stage: Stage) -> None:
        async with _undisturbed(stage, names[0] if len(names) == 1 else "hostile receivers"):
            await asyncio.gather(*(_misbehave(stage, name, seconds) for name in names))

    return inject


async def _misbehave(stage: Stage, name: str, seconds: float) -> None:
    conduct, desk = KINDS[name]
    load = stage.load
    async with AsyncExitStack() as stack:
        address = stage.network["department"].address
        client = await stack.enter_async_context(DepartmentClient(address, stage.mesh.data / "pki", desk.organ))
        everybody = replace(load.cast, organs={**load.cast.organs, desk.lead: client})
        cases = [load.begin(Case(next(load.extra), desk, everybody), refused) for _ in range(CASES)]
        # Everything is given from the beginning: what was acknowledged unseen as well.
        honest = Receiver("department", desk.organ, client, load.given, load.told, from_sequence=1)
        listening = asyncio.create_task(honest.run()) if name == "holds two sessions" else None
        await sessions(lambda: _channel(stage, "department", desk.organ), conduct, seconds)
        listening = listening or asyncio.create_task(honest.run())
        try:
            async with asyncio.timeout(END_SECONDS):
                await asyncio.gather(*cases)
                while unacknowledged(stage, desk.organ):  # noqa: ASYNC110 - it is looked at from outside
                    await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError as error:
            raise NotInjected(f"an organ that {name}: its cases do not end afterwards") from error
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def unacknowledged(stage: Stage, party: Identity) -> int:
    """Items that wait in the inbox."""
    statement = "SELECT count(*) FROM inbox WHERE receiver = ? AND acknowledged_at IS NULL"
    with closing(sqlite3.connect(f"file:{stage.mesh.database('department')}?mode=ro", uri=True, timeout=30)) as found:
        return int(found.execute(statement, (str(party),)).fetchone()[0])


async def sessions(connect: Callable[[], grpc.aio.Channel], conduct: Conduct, seconds: float) -> None:
    """One session after another, for so long, each on a connection of its own.

    None begins sooner than PAUSE_SECONDS after the one before.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                await asyncio.gather(_connected(connect, conduct), asyncio.sleep(PAUSE_SECONDS))


async def _connected(connect: Callable[[], grpc.aio.Channel], conduct: Conduct) -> None:
    async with connect() as channel:
        await _session(channel, conduct)


async def _session(channel: grpc.aio.Channel, conduct: Conduct) -> None:
    """Until it ends, or the receiver leaves it."""
    method: Any = channel.stream_stream(
        OPEN, inbox.OpenInboxRequest.SerializeToString, inbox.OpenInboxResponse.FromString
    )
    call = method()
    try:
        await call.write(inbox.OpenInboxRequest(open=inbox.OpenInboxRequest.Open(credit=CREDIT)))
        await conduct(call.write, call)
    except ENDED:
        return
    finally:
        call.cancel()


def _said(sequences: Sequence[int]) -> inbox.OpenInboxRequest:
    return inbox.OpenInboxRequest(acknowledge=inbox.OpenInboxRequest.Acknowledge(sequences=sequences))


def _channel(stage: Stage, subsystem: str, party: Identity) -> grpc.aio.Channel:
    return open_channel(stage.mesh.addresses[subsystem], Credentials.load(stage.mesh.data / "pki", party))


# --- readers that do not read ---


def slow_readers(count: int, seconds: float) -> Injection:
    """So many open calls of every kind; none is read. Memory must stay bounded, and the load must not notice."""

    async def inject(stage: Stage) -> None:
        sizes = {name: memory_of(stage.mesh.pid(name)) for name in SUBSYSTEMS}
        async with _undisturbed(stage, "slow readers"), AsyncExitStack() as stack:
            stack.enter_context(nobody_dies(stage))
            calls = []
            for subsystem, party, kind, number in _readers(stage, count):
                credentials = Credentials.load(stage.mesh.data / "pki", party)
                channel = slow_channel(stage.mesh.addresses[subsystem], credentials)
                await stack.enter_async_context(channel)
                for _ in range(number):
                    calls.append(unread(channel, kind))
                    with suppress(*ENDED):  # counted below: it is not open
                        await _write(calls[-1], kind)
                    await asyncio.sleep(EACH_SECONDS)  # what they ask for is not the trouble, but what is not read
            await asyncio.sleep(seconds)
            open_ones = sum(not call.done() for call in calls)
            grown = {name: (memory_of(stage.mesh.pid(name)) - size) / 2**20 for name, size in sizes.items()}
            for call in calls:
                call.cancel()
        stage.figures |= {f"slow readers: {name} grew by MiB": round(size, 1) for name, size in grown.items()}
        stage.figures["slow readers"] = open_ones
        if open_ones < count:
            raise NotInjected(f"{open_ones} of {count} calls stayed open: somebody read what was sent, or was refused")
        fat = [f"{name} grew by {size:.0f} MiB" for name, size in grown.items() if size > MOST_GROWTH / 2**20]
        if fat:
            raise NotInjected(f"{', '.join(fat)} for readers that do not read")

    return inject


def _readers(stage: Stage, count: int) -> list[tuple[str, Identity, str, int]]:
    """(subsystem, party, method, calls): inboxes of those who have no part, long lists, and bulk streams."""
    cast: Any = stage.load.cast
    idle = [
        (subsystem, Identity(kind, path.stem), OPEN, 1)
        for subsystem, kind, busy in (("department", "organ", cast.organs), ("governance", "center", cast.centers))
        for path in sorted((stage.mesh.data / "pki" / kind).glob("*.pem"))
        if path.stem not in busy and path.stem not in {desk.lead for _, desk in KINDS.values()}
    ][: count // 4]
    organ, bulk = DESKS[0].organ, count // 10
    rest = count - len(idle) - 2 * bulk
    return [
        *idle,
        ("intake", TERMINAL, LIST_ITEMS, rest // 2),
        ("department", organ, LIST_ITEMS, rest - rest // 2),
        ("intake", TERMINAL, SUBMIT_MANY, bulk),
        ("department", organ, EXECUTE_MANY, bulk),
    ]


def slow_channel(address: str, credentials: Credentials) -> grpc.aio.Channel:
    """One that takes next to nothing of an answer that is not read: what was sent waits where it came from."""
    tls = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)
    options = [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        ("grpc.http2.bdp_probe", 0),  # else the library takes ever more
    ]
    return grpc.aio.secure_channel(address, tls, options=options)


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
        for _ in range(CASES):
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


# --- callers that vanish ---


def vanishing(streams: int, requests: int) -> Injection:
    """Bulk streams whose callers are gone in the middle; what they have sent is asked for again, by its ids."""

    async def inject(stage: Stage) -> None:
        chance, load = Random(stage.chance.random()), stage.load
        for _ in range(streams):
            cases = [Case(next(load.extra), chance.choice(DESKS), load.cast) for _ in range(requests)]
            asked = [marked(completed(case.application())) for case in cases]
            for case, request in zip(cases, asked, strict=True):
                case.request = request
                await load.cast.caller.note(TERMINAL, request)
            await _vanish(stage, asked, chance)
            for case in cases:
                load.begin(case, chance.choice((granted, denied, refused)))

    return inject


async def _vanish(stage: Stage, asked: Sequence[intake.SubmitApplicationRequest], chance: Random) -> None:
    """Send them all; the connection is reset a moment later."""
    target = {"intake": stage.mesh.addresses["intake"]}
    async with proxies(target, chance) as found:
        credentials = Credentials.load(stage.mesh.data / "pki", TERMINAL)
        async with open_channel(found["intake"].address, credentials) as channel:
            method: Any = channel.stream_stream(SUBMIT_MANY, intake.SubmitApplicationsRequest.SerializeToString)
            call = method()
            for request in asked:
                await call.write(intake.SubmitApplicationsRequest(applications=[request]))
            await asyncio.sleep(chance.uniform(0, 0.05))
            found["intake"].reset()
            call.cancel()


# --- whether the others notice ---


@asynccontextmanager
async def _undisturbed(stage: Stage, what: str) -> AsyncIterator[None]:
    """Compares the load's latency in the block with that before."""
    before = await _median(stage, asyncio.sleep(BASELINE_SECONDS))
    latencies = stage.load.cast.caller.latencies
    latencies.clear()
    yield
    meanwhile = statistics.median(latencies) if latencies else float("inf")
    stage.figures[f"{what}: ms to an answer before"] = round(1000 * before, 1)
    stage.figures[f"{what}: ms to an answer meanwhile"] = round(1000 * meanwhile, 1)
    if meanwhile > max(SLOWER * before, LEAST):
        raise NotInjected(f"the load was disturbed: {meanwhile:.2f} s to an answer, {before:.2f} s before")


async def _median(stage: Stage, waiting: Awaitable[None]) -> float:
    latencies = stage.load.cast.caller.latencies
    latencies.clear()
    await waiting
    return statistics.median(latencies) if latencies else 0.0
