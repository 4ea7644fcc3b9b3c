"""Receivers that break every rule of an inbox."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle, pairwise
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from clients.channel import open_channel
from clients.credentials import Credentials
from clients.errors import RongheError
from clients.stream import Stream
from faults.injections.backlog import END_SECONDS, waiting
from faults.injections.disturbance import undisturbed
from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.load.applications import Desk
from faults.load.caller import UNEXPECTED
from ronghe.inbox.v1 import inbox_service_pb2 as inbox

OPEN = "/ronghe.inbox.v1.InboxService/OpenInbox"
CASES = 5
"""Wait for each hostile receiver."""
CREDIT = 100
PAUSE_SECONDS = 0.1
"""From the beginning of a session to that of the next one: ten times a second."""
TAKEN_OVER_SECONDS = 15.0
"""Within which the older of two sessions ends: on another replica it looks once a second."""
LEAST_BEGUN, LEAST_LET_IN = 0.5, 0.2
"""Of the sessions that are meant to be, such shares must have begun, and have come about."""


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
        async with undisturbed(stage, names[0] if len(names) == 1 else "hostile receivers"):
            await asyncio.gather(*(_misbehave(stage, name, seconds) for name in names))

    return inject


async def _misbehave(stage: Stage, name: str, seconds: float) -> None:
    kind = KINDS[name]
    credentials = Credentials.load(stage.mesh.data / "pki", kind.desk.organ)
    addresses = cycle(stage.mesh.addresses["department"].split(","))
    async with waiting(stage, [kind.desk], CASES):
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
