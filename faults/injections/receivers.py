"""Partners of every bad kind: receivers that break every rule, readers that do not read, callers that vanish."""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import cycle, pairwise
from pathlib import Path
from random import Random
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from clients.base import completed
from clients.channel import SERVER_NAME, open_channel
from clients.credentials import Credentials
from clients.department import DepartmentClient
from clients.errors import RongheError
from clients.identity import Identity
from clients.stream import ENDED, Stream
from faults.checker.journals import opened
from faults.checker.marks import mark_of, marks_in
from faults.injections.processes import nobody_dies
from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.load.applications import Desk
from faults.load.caller import UNEXPECTED, marked
from faults.load.case import Case
from faults.load.cast import CITY, DESKS, TERMINAL
from faults.load.courses import denied, granted, refused
from faults.load.parties import Receiver
from faults.mesh import SUBSYSTEMS
from faults.processes import memory_of
from faults.proxy import proxies
from ronghe.catalog.v1.catalog_pb2 import Place
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
BACKLOG = 2
"""Long items, of a case each, that wait for a slow reader: together more than the library lets wait for a stream."""
LONGEST_TEXT, LONGEST_DESCRIPTION, MOST_PLACES = "长" * 4000, "长" * 256, 20
"""Of an application."""
WINDOW = 64 * 1024
"""Bytes that the library lets wait for a stream by itself: of a message that is longer a part is held back."""
READ_SECONDS = 10.0
VANISHING_SECONDS = (0.05, 0.5)
"""At most until a caller vanishes: on any machine some of what he has sent is done by then, and some is not."""
EACH_SECONDS = 0.01
"""Slow readers come one after another."""
AGAIN_SECONDS, MOST_TURNED_AWAY = 1.0, 5
"""Where a server is crowded it turns some away: they come again after so long, so many times at most."""
MOST_GROWTH = 256 * 1024 * 1024
"""Bytes by which a process may grow for slow readers."""
PAUSE_SECONDS = 0.1
"""From the beginning of a session to that of the next one: ten times a second."""
END_SECONDS = 60.0
"""Within which the cases of a hostile receiver end once it has come to its senses."""
TAKEN_OVER_SECONDS = 15.0
"""Within which the older of two sessions ends: on another replica it looks once a second."""
LEAST_BEGUN, LEAST_LET_IN = 0.5, 0.2
"""Of the sessions that are meant to be, such shares must have begun, and have come about."""
BASELINE_SECONDS = 3.0
SLOWER, LEAST = 5.0, 1.0
"""The rest of the load is disturbed where its median latency grows so many times, beyond so many seconds."""


# --- how a receiver may behave ---


@dataclass(eq=False)
class Session:
    """What a receiver had of one session, and how it ended."""

    stream: Any = None
    """Of requests and answers, once it is connected."""
    is_open: bool = False
    """The server has let the receiver in."""
    given: list[int] = field(default_factory=list)
    """Sequences of the items, as they came."""
    put_off: int = 0
    """Items, each as often as it was."""
    end: RongheError | None = None
    """Why the server has ended it; None where it has not, but the receiver has left."""

    async def say(self, request: inbox.OpenInboxRequest) -> None:
        """Of a session that has ended it is not heard."""
        if await self.stream.write(request):
            self.put_off += len(request.acknowledge.nacks)

    async def answers(self) -> AsyncIterator[inbox.OpenInboxResponse]:
        """Until the server ends it."""
        try:
            async for answer in self.stream.messages():
                self.is_open = True
                self.given += [item.sequence for item in answer.items]
                yield answer
        except RongheError as error:
            self.end = error


Conduct = Callable[[Session], Awaitable[None]]
"""What a receiver does with one session."""
Connect = Callable[[], grpc.aio.Channel]
Proof = Callable[[Sequence[Session], float], str]
"""Given the sessions of so many seconds: what did not happen as it was meant; empty where all did."""


async def never_acknowledges(session: Session) -> None:
    """Reads on and on."""
    async for _ in session.answers():
        pass


async def acknowledges_what_it_never_got(session: Session) -> None:
    """First what waits for it, unseen, then what is not there at all: the session ends with that."""
    await session.say(_said(range(1, CASES + 1)))
    await session.say(_said([10**9]))
    async for _ in session.answers():
        pass


async def puts_off_for_ever(session: Session) -> None:
    """Each item, as soon as it comes."""
    async for answer in session.answers():
        nacks = [inbox.Nack(sequence=item.sequence, delay=Duration(nanos=50_000_000)) for item in answer.items]
        if nacks:
            await session.say(inbox.OpenInboxRequest(acknowledge=inbox.OpenInboxRequest.Acknowledge(nacks=nacks)))


async def comes_and_goes(session: Session) -> None:
    """It stays for half of the time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PAUSE_SECONDS / 2):
            await never_acknowledges(session)


async def sessions(connect: Connect, conduct: Conduct, seconds: float) -> Sequence[Session]:
    """One after another, for so long, each on a connection of its own.

    None begins sooner than PAUSE_SECONDS after the one before.
    """
    found: list[Session] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                found.append(Session())
                await asyncio.gather(_connected(connect, conduct, found[-1]), asyncio.sleep(PAUSE_SECONDS))
    return found


async def overlapping(connect: Connect, conduct: Conduct, seconds: float) -> Sequence[Session]:
    """Each begins beside the one before, which then acknowledges whatever it was given, too late; at least two of them.

    Raises NotInjected where the newer is given nothing, or the older one goes on.
    """
    found: list[Session] = []
    held: list[asyncio.Task[None]] = []
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end or len(found) < 2:
            newer = Session()
            held.append(asyncio.create_task(_connected(connect, conduct, newer)))
            await _until_given(newer)
            for older in found[-1:]:
                await older.say(_said(older.given))
                await _until_ended(older)
            found.append(newer)
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
    return found


async def _until_given(session: Session) -> None:
    await until(lambda: bool(session.given), END_SECONDS, "the newer of two sessions is given something")


async def _until_ended(session: Session) -> None:
    await until(lambda: session.end is not None, TAKEN_OVER_SECONDS, "the older of two sessions ends")


async def _connected(connect: Connect, conduct: Conduct, session: Session) -> None:
    """Until it ends, or the receiver leaves it."""
    async with connect() as channel:
        method: Any = channel.stream_stream(
            OPEN, inbox.OpenInboxRequest.SerializeToString, inbox.OpenInboxResponse.FromString
        )
        session.stream = Stream(method())
        try:
            await session.say(inbox.OpenInboxRequest(open=inbox.OpenInboxRequest.Open(credit=CREDIT)))
            await conduct(session)
        finally:
            session.stream.cancel()


def _said(sequences: Sequence[int]) -> inbox.OpenInboxRequest:
    return inbox.OpenInboxRequest(acknowledge=inbox.OpenInboxRequest.Acknowledge(sequences=sequences))


# --- whether it did ---


def was_given(found: Sequence[Session], seconds: float) -> str:
    """Something to acknowledge."""
    return "" if any(session.given for session in found) else "it was given nothing"


def was_refused(found: Sequence[Session], seconds: float) -> str:
    """For what was never sent."""
    ends = Counter(session.end.reason for session in found if session.end is not None)
    return "" if ends["SEQUENCE_NEVER_SENT"] else f"what was never sent was not refused, but {dict(ends)}"


def was_given_again(found: Sequence[Session], seconds: float) -> str:
    """What it had put off."""
    again = any(len(session.given) > len(set(session.given)) for session in found)
    put_off = sum(session.put_off for session in found)
    return "" if put_off and again else f"{put_off} items were put off, and {'some' if again else 'none'} given again"


def was_let_in_often(found: Sequence[Session], seconds: float) -> str:
    """A busy machine takes its time."""
    meant, let_in = seconds / PAUSE_SECONDS, sum(session.is_open for session in found)
    if len(found) >= LEAST_BEGUN * meant and let_in >= LEAST_LET_IN * meant:
        return ""
    return f"it came {len(found)} times, of {meant:.0f}, and was let in {let_in} times"


def was_taken_over(found: Sequence[Session], seconds: float) -> str:
    """The older of two each time, so that it was told nothing more, and what it said counted no more."""
    for older, newer in pairwise(found):
        if older.end is None or older.end.reason != "SESSION_TAKEN_OVER":
            return f"the older of two sessions was not taken over: {older.end}"
        if not set(older.given) <= set(newer.given):
            return f"the older of two sessions was given {older.given}, the newer one only {newer.given}"
    if len(found) < 2 or found[-1].end is not None:
        return f"of {len(found)} sessions the newest does not live: {found[-1].end if found else None}"
    return ""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a receiver behaves, and whose inbox it is: that of an organ that has no other part."""

    conduct: Conduct
    proof: Proof
    desk: Desk
    play: Callable[[Connect, Conduct, float], Awaitable[Sequence[Session]]] = sessions


TWO_AT_ONCE = "holds two sessions"
KINDS: Mapping[str, Kind] = {
    "never acknowledges": Kind(never_acknowledges, was_given, Desk("IT-003", "500104", "urban-mgmt-500104")),
    "acknowledges what it never got": Kind(
        acknowledges_what_it_never_got, was_refused, Desk("IT-003", "500107", "urban-mgmt-500107")
    ),
    "puts off for ever": Kind(puts_off_for_ever, was_given_again, Desk("IT-003", "500108", "urban-mgmt-500108")),
    "reconnects ten times a second": Kind(
        comes_and_goes, was_let_in_often, Desk("IT-003", "500110", "urban-mgmt-500110")
    ),
    TWO_AT_ONCE: Kind(never_acknowledges, was_taken_over, Desk("IT-003", "500113", "urban-mgmt-500113"), overlapping),
}


def hostile(names: Sequence[str], seconds: float) -> Injection:
    """All of these at once, beside a load that must not notice; then they come to their senses.

    Of several replicas each session is with another one than that before.
    """

    async def inject(stage: Stage) -> None:
        async with _undisturbed(stage, names[0] if len(names) == 1 else "hostile receivers"):
            await asyncio.gather(*(_misbehave(stage, name, seconds) for name in names))

    return inject


async def _misbehave(stage: Stage, name: str, seconds: float) -> None:
    kind = KINDS[name]
    credentials = Credentials.load(stage.mesh.data / "pki", kind.desk.organ)
    addresses = cycle(stage.mesh.addresses["department"].split(","))
    async with _waiting(stage, [kind.desk], CASES):
        found = await kind.play(lambda: open_channel(next(addresses), credentials), kind.conduct, seconds)
    _note(stage, name, found)
    if wrong := kind.proof(found, seconds):
        raise NotInjected(f"an organ that {name}: {wrong}")


def _note(stage: Stage, name: str, found: Sequence[Session]) -> None:
    """What there is to say of them; what may never be answered is counted where the load's answers are."""
    ends = [session.end for session in found if session.end is not None]
    figures = {
        "sessions": len(found),
        "of them let in": sum(session.is_open for session in found),
        "items given": sum(len(session.given) for session in found),
        "items put off": sum(session.put_off for session in found),
        **{f"ended with {reason}": number for reason, number in Counter(end.reason for end in ends).items()},
    }
    stage.figures |= {f"{name}: {figure}": number for figure, number in figures.items()}
    stage.load.cast.caller.unexpected.update(f"{end.code.name} {end.reason}" for end in ends if end.code in UNEXPECTED)


@asynccontextmanager
async def _waiting(stage: Stage, desks: Sequence[Desk], cases: int, *, long: bool = False) -> AsyncIterator[None]:
    """So many cases for each of these organs, which have no other part; the block begins when the first item waits.

    Where they are `long`, when all wait. After it the organs take whatever they were to be given, and the cases end.
    """
    load, organs = stage.load, [desk.organ for desk in desks]
    proxy = stage.network.get("department")
    address = proxy.address if proxy else stage.mesh.addresses["department"]
    async with AsyncExitStack() as stack:
        clients = {
            organ.id: await stack.enter_async_context(DepartmentClient(address, stage.mesh.data / "pki", organ))
            for organ in organs
        }
        everybody = replace(load.cast, organs={**load.cast.organs, **clients})
        begun = [Case(next(load.extra), desk, everybody) for desk in desks for _ in range(cases)]
        for case in begun if long else ():
            case.request = at_length(case.application())
        playing = [load.begin(case, refused) for case in begun]
        try:
            await _until_unacknowledged(stage, organs, lambda number: number >= (len(begun) if long else 1))
            yield
        finally:
            # Everything is given from the beginning: what was acknowledged unseen as well.
            honest = [
                Receiver("department", organ, clients[organ.id], load.given, load.told, from_sequence=1)
                for organ in organs
            ]
            listening = [asyncio.create_task(each.run()) for each in honest]
            try:
                await asyncio.wait(playing, timeout=END_SECONDS)
                await _until_unacknowledged(stage, organs, lambda number: not number)
            finally:
                for task in listening:
                    task.cancel()
                await asyncio.gather(*listening, return_exceptions=True)
    if not all(task.done() for task in playing):
        raise NotInjected(f"cases of {', '.join(map(str, organs))} do not end afterwards")


def at_length(request: intake.SubmitApplicationRequest) -> intake.SubmitApplicationRequest:
    """With texts as long as they may be: its item has some 40 KB."""
    for value in request.form:
        if value.WhichOneof("value") == "text":
            value.text = LONGEST_TEXT
    place = Place(division=request.division, description=LONGEST_DESCRIPTION)
    request.places.extend([place] * (MOST_PLACES - len(request.places)))
    return request


async def _until_unacknowledged(stage: Stage, parties: Sequence[Identity], holds: Callable[[int], bool]) -> None:
    """Return when it holds of the items that wait in these inboxes. Raises NotInjected."""
    try:
        async with asyncio.timeout(END_SECONDS):
            while not holds(await asyncio.to_thread(unacknowledged, stage, *parties)):  # noqa: ASYNC110 - from outside
                await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError as error:
        raise NotInjected(f"what is for {', '.join(map(str, parties))} does not come, or is not taken") from error


def unacknowledged(stage: Stage, *parties: Identity) -> int:
    """Items that wait in these inboxes."""
    receivers = ", ".join("?" * len(parties))
    query = f"SELECT count(*) AS number FROM inbox WHERE acknowledged_at IS NULL AND receiver IN ({receivers})"  # noqa: S608
    with opened(stage.mesh.source("department")) as select:
        return int(select(query, *map(str, parties))[0]["number"])


# --- readers that do not read ---


def slow_readers(count: int, seconds: float) -> Injection:
    """So many open calls of every kind; none is read. Memory must stay bounded, and the load must not notice."""

    async def inject(stage: Stage) -> None:
        desks = _desks(stage)
        async with _waiting(stage, desks, BACKLOG, long=True):
            await _read_slowly(stage, [desk.organ for desk in desks], count, seconds)

    return inject


async def _read_slowly(stage: Stage, waited_for: Sequence[Identity], count: int, seconds: float) -> None:
    """Among them are sessions of organs for which more waits than can be sent without their reading it."""
    sizes = {name: memory_of(stage.mesh.pid(name)) for name in SUBSYSTEMS}
    async with _undisturbed(stage, "slow readers"), AsyncExitStack() as stack:
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
        chance, load, had = Random(stage.chance.random()), stage.load, 0
        for _ in range(streams):
            cases = [Case(next(load.extra), chance.choice(DESKS), load.cast) for _ in range(requests)]
            asked = [marked(completed(case.application())) for case in cases]
            for case, request in zip(cases, asked, strict=True):
                case.request = request
                await load.cast.caller.note(TERMINAL, request)
            before = await asyncio.to_thread(_last_position, stage.mesh.source("intake"))
            await _vanish(stage, asked, chance)
            had += await asyncio.to_thread(effects, stage.mesh.source("intake"), before, asked)
            for case in cases:
                load.begin(case, chance.choice((granted, denied, refused)))
        stage.figures |= {"requests of callers that vanished": streams * requests, "of them done before": had}
        if wrong := not_amid(had, streams * requests):
            raise NotInjected(wrong)

    return inject


def not_amid(had: int, asked: int) -> str:
    """What is wrong where nobody vanished in the middle; empty where some did."""
    return "" if 0 < had < asked else f"of {asked} requests {had} were done when their callers vanished"


def _last_position(database: Path | str) -> int:
    with opened(database) as select:
        return int(select("SELECT position FROM journal_head")[0]["position"])


def effects(database: Path | str, position: int, asked: Sequence[intake.SubmitApplicationRequest]) -> int:
    """How many of these requests have had their effect, behind a position of this journal."""
    with opened(database) as select:
        rows = select("SELECT body FROM journal WHERE position > ?", position)
    done = {mark for row in rows for mark in marks_in(bytes(row["body"]))}
    return len(done & {mark_of(each.request_id) for each in asked})


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
            await asyncio.sleep(chance.uniform(0, chance.choice(VANISHING_SECONDS)))
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
