"""Plays cases at a steady rate until it is told to stop, and waits for those that are under way."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from random import Random
from typing import Any

from clients.errors import RongheError
from clients.identity import Identity
from faults.checker.collect import DELIVERIES, REQUESTS, SHOWN
from faults.load.caller import Caller
from faults.load.case import Case
from faults.load.cast import DESKS, INTAKE, Cast, cast
from faults.load.collaborators import answer_at_last, collaborate, route
from faults.load.courses import PLAYED_AT, SHARES, Course
from faults.load.durable import DurableLog
from faults.load.onlookers import Onlookers
from faults.load.parties import Receiver
from ronghe.event.v1 import event_pb2

ACTED_ON = ("TaskAssigned", "TaskOverdue", "TaskHeld")
EXTRA = 10_050_000
"""The first of the cases that faults add: their applicants are born half a century after the others."""


@dataclass
class Load:
    """What is being played."""

    cast: Cast
    chance: Random
    given: DurableLog
    """Of deliveries."""
    onlookers: Onlookers
    under_way: dict[int, str] = field(default_factory=dict)
    """Number of a case -> its course."""
    ended: Counter[str] = field(default_factory=Counter)
    """Course -> cases."""
    problems: Counter[str] = field(default_factory=Counter)
    last_end: float = field(default_factory=time.monotonic)
    extra: Iterator[int] = field(default_factory=lambda: count(EXTRA))
    """Numbers of cases that faults add."""
    _played: list[Case] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _handled: set[str] = field(default_factory=set)

    async def run(self, rate: float) -> None:
        """So many cases a second, until cancelled."""
        courses = [course for course, share in SHARES.items() for _ in range(share)]
        self.chance.shuffle(courses)
        started = time.monotonic()
        for number, course in zip(count(), cycle(courses), strict=False):
            await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
            started += await self.cast.caller.may_begin()
            self._begin(number, course)
            self._let_look()

    async def settle(self, seconds: float) -> None:
        """Wait until every case has ended, for so long at most."""
        async with asyncio.timeout(seconds):
            while self._tasks:
                await asyncio.wait(self._tasks)

    async def stop(self) -> None:
        """Give up what is still under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, number: int, course: Course) -> None:
        desk = self.chance.choice(PLAYED_AT.get(course, DESKS))
        self.begin(Case(number, desk, self.cast), course)

    def _let_look(self) -> None:
        """At one of the cases, perhaps of long ago."""
        case = self.onlookers.chance.choice(self._played)
        if case.case_id:
            self._spawn(self.onlookers.look(case))

    def begin(self, case: Case, course: Course) -> asyncio.Task[None]:
        """Let a case go this way."""
        self.under_way[case.number] = course.__name__
        self._played.append(case)
        return self._spawn(self._play(case, course))

    async def _play(self, case: Case, course: Course) -> None:
        case.began_at = time.time()
        try:
            await case.submit()
            await course(case)
            await case.ended()
        except RongheError as error:
            self.problems[f"{course.__name__}: {error.reason}"] += 1
        else:
            self.ended[course.__name__] += 1
        finally:
            case.ended_at = time.time()
            del self.under_way[case.number]
            self.last_end = time.monotonic()

    @property
    def played(self) -> Sequence[Case]:
        """Every case that was begun, in their order."""
        return self._played

    @property
    def windows(self) -> Mapping[str, tuple[float, float]]:
        """Case -> when it began and ended, seconds since 1970; it ends at infinity while it is under way."""
        return {case.case_id: (case.began_at, case.ended_at) for case in self._played if case.case_id}

    # --- what comes in ---

    def told(self, receiver: str, event: event_pb2.Event) -> None:
        """A delivery, perhaps a repeated one."""
        self.cast.told[event.case_id].add(receiver, event)
        name = event.fact.type_url.rpartition(".")[2]
        if name not in ACTED_ON or f"{receiver} {event.id}" in self._handled:
            return
        self._handled.add(f"{receiver} {event.id}")
        self._spawn(self._act(Identity.parse(receiver), name, event.fact.value))

    async def _act(self, party: Identity, name: str, fact: bytes) -> None:
        """What whoever is told this does about it."""
        match party.kind, name:
            case "organ", "TaskAssigned":
                await collaborate(self.cast, party.id, event_pb2.TaskAssigned.FromString(fact))
            case "organ", "TaskOverdue":
                await answer_at_last(self.cast, party.id, event_pb2.TaskOverdue.FromString(fact))
            case "center", "TaskHeld":
                await route(self.cast, party.id, event_pb2.TaskHeld.FromString(fact))

    def deaf(self, task: asyncio.Task[None]) -> None:
        """A receiver listens no more, though nobody has told it to stop: what it does not take reads as stuck."""
        error = None if task.cancelled() else task.exception()
        why = "it was cancelled" if task.cancelled() else "it ended" if error is None else _named(error)
        self.problems[f"{task.get_name()} listens no more: {why}"] += 1

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.problems[_named(error)] += 1


def _named(error: BaseException) -> str:
    """With what it consists of, where it is a group."""
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(map(_named, error.exceptions))
    return f"{type(error).__name__}: {error}"


@asynccontextmanager
async def load(addresses: Mapping[str, str], pki: Path, log: Path, seed: int) -> AsyncIterator[Load]:
    """All parties connected and listening, with their logs in the folder `log`."""
    with DurableLog(log / REQUESTS) as sent, DurableLog(log / DELIVERIES) as given, DurableLog(log / SHOWN) as shown:
        async with cast(addresses, pki, Caller(sent, Random(seed))) as everybody:
            found = Load(everybody, Random(seed), given, Onlookers(everybody, shown, Random(seed)))
            listening = [
                asyncio.create_task(each.run(), name=f"{each.party} at {each.subsystem}")
                for each in _receivers(everybody, given, found.told)
            ]
            for task in listening:
                task.add_done_callback(found.deaf)
            try:
                yield found
            finally:
                await found.stop()
                for task in listening:
                    task.remove_done_callback(found.deaf)
                    task.cancel()
                await asyncio.gather(*listening, return_exceptions=True)


def _receivers(everybody: Cast, log: DurableLog, told: Callable[[str, event_pb2.Event], None]) -> list[Receiver]:
    found = [Receiver("intake", INTAKE, everybody.intake, log, told)]
    found += [
        Receiver("department", Identity("organ", name), client, log, told) for name, client in everybody.organs.items()
    ]
    found += [
        Receiver("governance", Identity("center", name), client, log, told)
        for name, client in everybody.centers.items()
    ]
    return found
