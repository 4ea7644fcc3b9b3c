"""What is to be broken, and what a fault is."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from faults.checker.history import Event, Journal
from faults.load.load import Load
from faults.mesh import Mesh
from faults.proxy import Proxy

LOOK_SECONDS = 0.02
RATE = 20.0
"""Cases a second that a scene plays by itself, where it does not say otherwise."""


@dataclass(slots=True)
class Stage:
    """What is to be broken."""

    mesh: Mesh
    crashes: Path
    """Folder in which a process finds at its start where it is to die."""
    chance: Random
    network: Mapping[str, Proxy]
    """Between the callers and each subsystem."""
    load: Load
    forged: set[str] = field(default_factory=set)
    """Ids of events that are poison."""
    topics: int = 1
    """How many topics there have been."""
    lost: list[Journal] = field(default_factory=list)
    """What databases were when they were lost."""
    unsent: list[Event] = field(default_factory=list)
    """What stood nowhere else then."""
    figures: dict[str, float] = field(default_factory=dict)
    """What was measured, by name; they stand in the report."""

    @property
    def folder(self) -> Path:
        """What is kept of the scene."""
        return self.crashes.parent


class NotInjected(Exception):
    """The fault could not be brought about, or what must hold during it did not hold."""


Injection = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to be broken once."""

    name: str
    injection: Injection
    measured: bool = False
    """Wait until everything that it held up has ended, and say how long that took."""
    seconds: float = 300.0
    """It takes no longer to bring it about."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A kind of mesh, and what is broken in it."""

    name: str
    mesh: Callable[[Path, int, Mapping[str, str]], AbstractAsyncContextManager[Mesh]]
    """Given a folder, a port base and an environment: a mesh that is up, and is stopped at the end."""
    schedule: Callable[[bool, Random], Sequence[Fault]]
    """Given whether it shall be quick: the faults in their order. None: the scene has no part in that."""
    rate: float = RATE
    """Cases a second."""
    alone: bool = False
    """It measures what the machine can do, or takes all of it: no other scene is played beside it."""


async def until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Return when it holds. Raises NotInjected when it does not in so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - it is looked at from outside
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError as error:
        raise NotInjected(f"{what}: not within {seconds:.0f} s") from error
