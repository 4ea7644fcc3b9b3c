"""Requests that no honest program would send, as many as are wanted, over every RPC, by parties of every kind."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor

from clients.channel import open_channel
from clients.credentials import Credentials
from clients.identity import Identity
from faults.fuzzing.contract import allowed, methods
from faults.fuzzing.frames import noise
from faults.fuzzing.messages import Hostile
from faults.injections.stage import Injection, NotInjected, Stage
from faults.mesh import SUBSYSTEMS
from faults.processes import memory_of

AT_ONCE = 48
PARTIES_OF_A_KIND = 4
CALL_SECONDS = 20.0
STREAM_MESSAGES = 5
SPOILED = 0.5
"""Share of requests that begin as right ones, where there are any of their type."""
FOREIGN = 10
"""One in so many is a method that the party may not call."""
STREAM_SECONDS = 0.2
CALLS_A_CONNECTION = 500
MOST_GROWTH = 512 * 1024 * 1024
"""Bytes by which a process may grow meanwhile."""
CLIENT_LIBRARY = "Internal error from Core"
"""What grpc says itself when it writes to a stream that the server has ended."""
BUGS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED)
"""A server's own failure, or no answer at all."""
READS = ("Get", "List", "Preview", "Locate", "Fetch", "Open")


@dataclass
class _Door:
    """One party's way into one subsystem."""

    party: Identity
    address: str
    channel: grpc.aio.Channel
    methods: list[MethodDescriptor]
    """What may be called there comes first, what may not comes seldom."""


@dataclass
class _Fuzzing:
    """What was sent, and what came back."""

    stage: Stage
    chance: Random
    hostile: Hostile
    answers: Counter[str] = field(default_factory=Counter)
    """"CODE" -> calls."""
    effects: Counter[str] = field(default_factory=Counter)
    """Commands that were accepted: none of them is right."""
    grown: dict[str, int] = field(default_factory=dict)

    async def call(self, door: _Door, method: MethodDescriptor) -> None:
        """One request, or one stream of them."""
        path = f"/{method.containing_service.full_name}/{method.name}"
        try:
            if method.client_streaming:
                await self._stream(door, method, path)
            else:
                call: Any = door.channel.unary_unary(path)
                await call(self._body(method), timeout=CALL_SECONDS)
                self._answered(method)
        except grpc.aio.AioRpcError as error:
            if error.details() == CLIENT_LIBRARY:
                self.answers["STREAM"] += 1
                return
            self.answers[error.code().name] += 1
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                door.methods[:] = [
                    each for each in door.methods if each.containing_service != method.containing_service
                ]
            if error.code() in BUGS:
                self.stage.load.cast.caller.unexpected[f"{method.name} {error.code().name}: {error.details()}"] += 1

    def _body(self, method: MethodDescriptor) -> bytes:
        right = [each for each in self.stage.load.cast.caller.recent if method.input_type == each.DESCRIPTOR]
        if right and self.chance.random() < SPOILED:
            return self.hostile.spoiled(self.chance.choice(right).SerializeToString(), method.input_type)
        return self.hostile.request(method.input_type)

    def _answered(self, method: MethodDescriptor) -> None:
        self.answers["OK"] += 1
        if not method.name.startswith(READS) and "request_id" in method.input_type.fields_by_name:
            self.effects[method.name] += 1

    async def _stream(self, door: _Door, method: MethodDescriptor, path: str) -> None:
        bodies = [self.hostile.request(method.input_type) for _ in range(STREAM_MESSAGES)]
        method_call: Any = door.channel.stream_stream(path)
        call = method_call(iter(bodies), timeout=CALL_SECONDS)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(STREAM_SECONDS):
                    async for _ in call:
                        pass
            self.answers["STREAM"] += 1
        finally:
            call.cancel()

    def measure(self, before: Mapping[str, int]) -> None:
        """How much each process has grown at most."""
        for name, size in before.items():
            grown = memory_of(self.stage.mesh.pid(name)) - size
            self.grown[name] = max(grown, self.grown.get(name, 0))


def fuzzed(requests: int) -> Injection:
    """So many; the processes must live through it, bounded, and no answer be a bug."""

    async def inject(stage: Stage) -> None:
        chance = Random(stage.chance.random())
        fuzzing = _Fuzzing(stage, chance, Hostile(chance, _known(stage)))
        pids = {name: stage.mesh.pid(name) for name in SUBSYSTEMS}
        sizes = {name: memory_of(pid) for name, pid in pids.items()}
        doors, started = _doors(stage, chance), time.monotonic()
        numbers = count(1)

        async def work() -> None:
            while (number := next(numbers)) <= requests:
                door = chance.choice(doors)
                await fuzzing.call(door, chance.choice(door.methods))
                if number % CALLS_A_CONNECTION == 0:
                    pki = stage.mesh.data / "pki"
                    party = pki / door.party.kind / f"{door.party.id}.pem"
                    await noise(stage.mesh.addresses[chance.choice(SUBSYSTEMS)], party, pki / "ca.pem", chance)
                    fuzzing.measure(sizes)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        await asyncio.gather(*(door.channel.close() for door in doors))
        stage.figures |= {f"fuzzed {name}": number for name, number in sorted(fuzzing.answers.items())}
        stage.figures |= {f"{name} grew by MiB": round(size / 2**20) for name, size in fuzzing.grown.items()}
        stage.figures["fuzzed a second"] = round(requests / (time.monotonic() - started))
        _judge(stage, fuzzing, pids)

    return inject


def _judge(stage: Stage, fuzzing: _Fuzzing, pids: Mapping[str, int]) -> None:
    died = [name for name, pid in pids.items() if stage.mesh.pid(name) != pid]
    if died:
        raise NotInjected(f"died: {', '.join(died)}")
    if fuzzing.effects:
        raise NotInjected(f"accepted: {dict(fuzzing.effects)}")
    fat = [name for name, size in fuzzing.grown.items() if size > MOST_GROWTH]
    if fat:
        raise NotInjected(f"grew by more than {MOST_GROWTH >> 20} MiB: {', '.join(fat)}")


def _known(stage: Stage) -> Sequence[str]:
    """Ids and codes that exist."""
    cast = stage.load.cast
    return [*list(cast.told)[:200], *list(cast.items)[:10], *cast.organs, *cast.centers, "yukuaiban", "local"]


def _doors(stage: Stage, chance: Random) -> list[_Door]:
    """A few parties of every kind, to every subsystem."""
    found = []
    pki, every = stage.mesh.data / "pki", methods()
    for party in _parties(pki, chance):
        for name in SUBSYSTEMS:
            address = stage.mesh.addresses[name]
            channel = open_channel(address, Credentials.load(pki, party))
            found.append(_Door(party, address, channel, _chosen(stage, party, every)))
    return found


def _parties(pki: Path, chance: Random) -> list[Identity]:
    found: list[Identity] = []
    for folder in sorted(path for path in pki.iterdir() if path.is_dir() and path.name != "broker"):
        files = sorted(folder.glob("*.pem"))
        found += [Identity(folder.name, each.stem) for each in chance.sample(files, min(len(files), PARTIES_OF_A_KIND))]
    return found


def _chosen(stage: Stage, party: Identity, every: Sequence[MethodDescriptor]) -> list[MethodDescriptor]:
    """Mostly what the party may call; never the inbox of one that plays: it would acknowledge its own items."""
    cast: Any = stage.load.cast
    plays = party.id in {*cast.organs, *cast.centers, "yukuaiban", "governance-01", "department-01", "intake-01"}
    free = [method for method in every if not (plays and method.containing_service.name == "InboxService")]
    own = [method for method in free if allowed(method, party.kind)]
    repeats = FOREIGN * (len(free) - len(own)) // max(len(own), 1)
    return own * repeats + [method for method in free if method not in own]
