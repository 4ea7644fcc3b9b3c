"""Requests that no honest program would send, as many as are wanted, over every RPC, by parties of every kind."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from clients.channel import open_channel
from clients.credentials import Credentials
from clients.errors import RongheError, error_of, error_of_status
from clients.identity import Identity
from faults.fuzzing.contract import allowed, carried, methods
from faults.fuzzing.coverage import OK, STREAM, Coverage
from faults.fuzzing.frames import noise
from faults.fuzzing.messages import Hostile, wrapped
from faults.injections.fuzzed_desk import CALL_SECONDS, COMMANDS, DESK, KEPT, FuzzedDesk, fuzzed_desk
from faults.injections.processes import nobody_dies
from faults.injections.stage import Injection, NotInjected, Stage
from faults.load.cast import ASKED, DESKS, DISTRICT, TERMINAL
from faults.mesh import SUBSYSTEMS
from faults.processes import memory_of

AT_ONCE = 48
PARTIES_OF_A_KIND = 4
STREAM_MESSAGES = 5
SPOILED = 0.5
"""Share of requests that begin as right ones, where there are any of their type,"""
TIMELY = 0.5
"""and of those that are said to have happened just now, about what there is not."""
OF_THE_DESK = 0.1
"""Share of the calls that are made by the organ whose commands are right but for one place,"""
OF_THE_TERMINAL = 0.99
"""and above this share those of the terminal of the same cases."""
FOREIGN = 10
"""One in so many is a method that the party may not call."""
STREAM_SECONDS = 0.2
"""For which an inbox's items are waited for: there may be none. A bulk call comes to its end by itself."""
CALLS_A_CONNECTION = 500
MOST_GROWTH = 512 * 1024 * 1024
"""Bytes by which a process may grow meanwhile."""
CLIENT_LIBRARY = "Internal error from Core"
"""What grpc says itself when it writes to a stream that the server has ended."""
BUGS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED)
"""A server's own failure, or no answer at all."""
NAMES = ("case_id", "task_id", "collaboration_id", "item_code")
"""What a command is about."""
READS = ("Get", "List", "Preview", "Locate", "Fetch", "Open")
JUDGED = ("CaseService", "CollaborationService", "DocumentService", "IntakeService")
"""Whose answers are about cases,"""
ONLOOKERS = ("organ", "center", "terminal")
"""and who may not see all of them."""
MOST_SHOWN, LINES = 300, 5
"""So many answers of each RPC to each party are judged, with so many lines. What is shown to a stranger is seldom."""
CASES_KNOWN = 100
INVOLVED = (Identity("organ", DESKS[0].lead), Identity("organ", ASKED[0]), Identity("center", DISTRICT), TERMINAL)
"""Some whom cases of the load concern: others' are for none of them."""


@dataclass
class _Door:
    """One party's way into one subsystem."""

    party: Identity
    address: str
    channel: grpc.aio.Channel
    methods: list[MethodDescriptor]
    """What may be called there comes first, what may not comes seldom."""
    is_desk: bool = False


@dataclass
class _Fuzzing:
    """What was sent, and what came back."""

    stage: Stage
    chance: Random
    hostile: Hostile
    desk: FuzzedDesk
    coverage: Coverage
    carried: Mapping[str, Mapping[str, Sequence[int]]]
    """RPC -> what it can carry."""
    known: dict[str, list[str]] = field(default_factory=dict)
    """Ids and codes that exist, by the name of the field in which they stand: those of the load as it goes on."""
    effects: Counter[str] = field(default_factory=Counter)
    """Commands of others than the desk that were accepted: none of them is right."""
    grown: dict[str, int] = field(default_factory=dict)
    shown: Counter[tuple[Identity, str]] = field(default_factory=Counter)
    """Party and RPC -> answers that were written down to be judged."""

    async def call(self, door: _Door, method: MethodDescriptor) -> None:
        """One request, or one stream of them."""
        path = f"/{method.containing_service.full_name}/{method.name}"
        try:
            if method.client_streaming:
                await self._stream(door, method, path)
            else:
                await self._unary(door, method, path)
        except grpc.aio.AioRpcError as failure:
            error = error_of(failure)
            if error.message == CLIENT_LIBRARY:
                self.coverage.calls[method.full_name][STREAM] += 1
                return
            self._failed(method, error, self.coverage.calls[method.full_name])
            if error.code is grpc.StatusCode.UNIMPLEMENTED:
                door.methods[:] = [
                    each for each in door.methods if each.containing_service != method.containing_service
                ]

    async def _unary(self, door: _Door, method: MethodDescriptor, path: str) -> None:
        ((request_id, body),) = await self._made(door, method, 1)
        call: Any = door.channel.unary_unary(path)
        try:
            answer = await call(body, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as failure:
            await self.desk.refused(request_id, error_of(failure))
            raise
        self.coverage.calls[method.full_name][OK] += 1
        found = GetMessageClass(method.output_type).FromString(answer)
        await self._accepted(method, request_id, found)
        await self._shown(door.party, method, GetMessageClass(method.input_type).FromString(body), found)

    async def _stream(self, door: _Door, method: MethodDescriptor, path: str) -> None:
        bodies = [body for _, body in await self._made(door, method, STREAM_MESSAGES)]
        method_call: Any = door.channel.stream_stream(path)
        call, answer_type = method_call(iter(bodies), timeout=CALL_SECONDS), GetMessageClass(method.output_type)
        try:
            async with asyncio.timeout(None if self.carried[method.full_name] else STREAM_SECONDS):
                async for answer in call:
                    await self._look_at(method, answer_type.FromString(answer))
            self.coverage.calls[method.full_name][OK] += 1
        except TimeoutError:
            self.coverage.calls[method.full_name][STREAM] += 1
        finally:
            call.cancel()

    # --- what is sent ---

    async def _made(self, door: _Door, method: MethodDescriptor, count: int) -> Sequence[tuple[str, bytes]]:
        """So many bodies, each with the id of the desk's request in it; an empty one of others' requests."""
        kinds = self.carried[method.full_name]
        if door.is_desk:
            commands = [await self.desk.command(kinds) for _ in range(count)]
            return [command for command in commands if command] or [("", self.hostile.request(method.input_type))]
        if _is_judged(method) and self.chance.random() < SPOILED:
            return [("", self._read(GetMessageClass(method.input_type)())) for _ in range(count)]
        right = [each for each in self.desk.caller.recent if each.DESCRIPTOR.full_name in kinds]
        if right and self.chance.random() < SPOILED:
            return [("", self._spoiled(self.chance.choice(right), kinds)) for _ in range(count)]
        return [("", self.hostile.request(method.input_type)) for _ in range(count)]

    def _read(self, request: Any) -> bytes:
        """Of something that there is, whosever it is."""
        for name, ids in self.known.items():
            if ids and name in request.DESCRIPTOR.fields_by_name:
                setattr(request, name, self.chance.choice(ids))
        return bytes(request.SerializeToString())

    def _spoiled(self, right: Message, kinds: Mapping[str, Sequence[int]]) -> bytes:
        """Of another time than can be, or about what there is not: refused whatever else is right."""
        kind: Any = right.DESCRIPTOR
        if self.chance.random() < TIMELY:
            body = self.hostile.spoiled_once(strange(right).SerializeToString(), kind, (*KEPT, *NAMES))
        else:
            body = self.hostile.spoiled(right.SerializeToString(), kind)
        return wrapped(body, kinds[kind.full_name])

    # --- what comes back ---

    async def _look_at(self, method: MethodDescriptor, answer: Any) -> None:
        """Each result of a bulk call is an answer of its own."""
        for result in getattr(answer, "results", ()):
            name, items = result.WhichOneof("result"), self.coverage.items[method.full_name]
            if name is None:
                self._unexpected(f"{method.name}: a result that is empty")
            elif name == "failed":
                error = error_of_status(result.failed)
                await self.desk.refused(result.request_id, error)
                self._failed(method, error, items)
            else:
                items[OK] += 1
                await self._accepted(method, result.request_id, getattr(result, name))

    async def _accepted(self, method: MethodDescriptor, request_id: str, answer: Message) -> None:
        is_command = method.client_streaming or (
            not method.name.startswith(READS) and "request_id" in method.input_type.fields_by_name
        )
        if not await self.desk.accepted(request_id, answer) and is_command:
            self.effects[method.name] += 1

    async def _shown(self, party: Identity, method: MethodDescriptor, request: Message, answer: Message) -> None:
        """Let the checker judge what a party was given that may not see everything; an empty list shows nothing."""
        if not _is_judged(method) or party.kind not in ONLOOKERS or not answer.ByteSize():
            return
        self.shown[party, method.name] += 1
        if self.shown[party, method.name] <= MOST_SHOWN:
            await self.stage.load.onlookers.note(party, request, shortened(answer, self.chance))

    def _failed(self, method: MethodDescriptor, error: RongheError, codes: Counter[str]) -> None:
        codes[error.code.name] += 1
        if error.code in BUGS:
            self._unexpected(f"{method.name} {error.code.name}: {error.message}")

    def _unexpected(self, what: str) -> None:
        self.stage.load.cast.caller.unexpected[what] += 1

    def learn(self, known: dict[str, list[str]]) -> None:
        """What exists now."""
        self.known = known
        self.hostile.known = list(chain.from_iterable(known.values()))

    def measure(self, before: Mapping[str, int]) -> None:
        """How much each process has grown at most."""
        for name, size in before.items():
            grown = memory_of(self.stage.mesh.pid(name)) - size
            self.grown[name] = max(grown, self.grown.get(name, 0))


def fuzzed(requests: int) -> Injection:
    """So many; the processes must live through it, bounded, and no answer be a bug."""

    async def inject(stage: Stage) -> None:
        chance = Random(stage.chance.random())
        known, every = _known(stage), methods()
        hostile = Hostile(chance, list(chain.from_iterable(known.values())))
        async with fuzzed_desk(stage, chance, hostile) as desk:
            carrying = {method.full_name: carried(method) for method in every}
            fuzzing = _Fuzzing(stage, chance, hostile, desk, Coverage.of(every), carrying, known)
            sizes = {name: memory_of(stage.mesh.pid(name)) for name in SUBSYSTEMS}
            started = time.monotonic()
            with nobody_dies(stage):
                await _sent(fuzzing, requests, sizes)
            stage.figures["fuzzed a second"] = round(requests / (time.monotonic() - started))
        _write(stage, fuzzing)
        _judge(fuzzing)

    return inject


async def _sent(fuzzing: _Fuzzing, requests: int, sizes: Mapping[str, int]) -> None:
    stage, chance, numbers = fuzzing.stage, fuzzing.chance, count(1)
    doors = _doors(stage, chance)
    desk, terminal = _fuzzed(stage, "department", DESK.organ), _fuzzed(stage, "intake", TERMINAL)

    async def work() -> None:
        while (number := next(numbers)) <= requests:
            draw = chance.random()
            door = desk if draw < OF_THE_DESK else terminal if draw > OF_THE_TERMINAL else chance.choice(doors)
            await fuzzing.call(door, chance.choice(door.methods))
            if number % CALLS_A_CONNECTION == 0:
                pki = stage.mesh.data / "pki"
                party = pki / door.party.kind / f"{door.party.id}.pem"
                await noise(stage.mesh.addresses[chance.choice(SUBSYSTEMS)], party, pki / "ca.pem", chance)
                fuzzing.measure(sizes)
                fuzzing.learn(_known(stage))

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    await asyncio.gather(*(door.channel.close() for door in (desk, terminal, *doors)))


def _write(stage: Stage, fuzzing: _Fuzzing) -> None:
    """The figures, and how each RPC was answered in `fuzz.json`."""
    coverage = fuzzing.coverage
    (stage.folder / "fuzz.json").write_text(json.dumps(coverage.report(), indent=2) + "\n")
    stage.figures |= {f"fuzzed {name}": number for name, number in sorted(coverage.totals.items())}
    items = sum(coverage.items.values(), Counter[str]())
    stage.figures |= {f"fuzzed in bulk {name}": number for name, number in sorted(items.items())}
    stage.figures["RPCs fuzzed"] = len(coverage.calls) - len(coverage.uncalled)
    stage.figures["of them read, or come to the rules"] = len(coverage.calls) - len(coverage.unreached)
    stage.figures["fuzzed answers judged"] = sum(min(count, MOST_SHOWN) for count in fuzzing.shown.values())
    stage.figures |= {f"{name} grew by MiB": round(size / 2**20) for name, size in fuzzing.grown.items()}


def _judge(fuzzing: _Fuzzing) -> None:
    if fuzzing.effects:
        raise NotInjected(f"accepted: {dict(fuzzing.effects)}")
    fat = [name for name, size in fuzzing.grown.items() if size > MOST_GROWTH]
    if fat:
        raise NotInjected(f"grew by more than {MOST_GROWTH >> 20} MiB: {', '.join(fat)}")
    if not fuzzing.desk.taken:
        raise NotInjected("no command reached the rules: none of the desk's was accepted")
    if fuzzing.coverage.uncalled:
        raise NotInjected(f"never called: {', '.join(fuzzing.coverage.uncalled)}")


def strange(right: Message) -> Any:
    """The same request, made just now, about a case, a task or an item that there is not."""
    request: Any = type(right)()
    request.CopyFrom(right)
    request.request_id = str(uuid4())
    request.occurred_at.GetCurrentTime()
    for name in NAMES:
        if name in right.DESCRIPTOR.fields_by_name:
            setattr(request, name, "IT-999" if name == "item_code" else str(uuid4()))
    return request


def _is_judged(method: MethodDescriptor) -> bool:
    """Whether it reads of cases."""
    return method.containing_service.name in JUDGED and method.name.startswith(READS)


def shortened(answer: Any, chance: Random) -> Message:
    """With a few of the lines of each list."""
    for field_, lines in answer.ListFields():
        if field_.is_repeated and len(lines) > LINES:
            kept = [lines[place] for place in sorted(chance.sample(range(len(lines)), LINES))]
            del lines[:]
            lines.extend(kept)
    return answer  # type: ignore[no-any-return]


def _known(stage: Stage) -> dict[str, list[str]]:
    """Ids and codes that exist: of the first cases and of the last ones, with what was asked about them."""
    cast = stage.load.cast
    cases = list(cast.told)
    chosen = [*cases[:CASES_KNOWN], *cases[-CASES_KNOWN:]]
    asked = {name for case_id in chosen for _, _, name in cast.told[case_id].facts if name}
    return {
        "case_id": chosen,
        "task_id": [task_id for case_id in chosen for task_id in cast.told[case_id].answers],
        "collaboration_id": sorted(asked),
        "code": [*list(cast.items)[:10], *cast.organs, *cast.centers, "yukuaiban", "local"],
    }


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


def _fuzzed(stage: Stage, subsystem: str, party: Identity) -> _Door:
    """Of one whose commands are right but for one place."""
    address, credentials = stage.mesh.addresses[subsystem], Credentials.load(stage.mesh.data / "pki", party)
    kinds = {kind for kind, sender in COMMANDS.items() if sender == party}
    own = [method for method in methods() if kinds & carried(method).keys()]
    return _Door(party, address, open_channel(address, credentials), own, is_desk=True)


def _parties(pki: Path, chance: Random) -> list[Identity]:
    found: list[Identity] = [*INVOLVED]
    for folder in sorted(path for path in pki.iterdir() if path.is_dir() and path.name != "broker"):
        files = sorted(folder.glob("*.pem"))
        found += [Identity(folder.name, each.stem) for each in chance.sample(files, min(len(files), PARTIES_OF_A_KIND))]
    return found


def _chosen(stage: Stage, party: Identity, every: Sequence[MethodDescriptor]) -> list[MethodDescriptor]:
    """Mostly what the party may call; never the inbox of one that plays: it would acknowledge its own items."""
    cast: Any = stage.load.cast
    plays = party.id in {
        *cast.organs,
        *cast.centers,
        DESK.lead,
        "yukuaiban",
        "governance-01",
        "department-01",
        "intake-01",
    }
    free = [method for method in every if not (plays and method.containing_service.name == "InboxService")]
    own = [method for method in free if allowed(method, party.kind)]
    repeats = FOREIGN * (len(free) - len(own)) // max(len(own), 1)
    return own * repeats + [method for method in free if method not in own]
