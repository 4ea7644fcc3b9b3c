"""Poison on the topic: messages that no honest deployment would write, of cases of their own and of those under way."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

from confluent_kafka import KafkaError, Message, Producer

from clients.base import completed
from clients.errors import Refused
from clients.subsystem import SubsystemClient
from faults.checker.collect import access
from faults.checker.journals import opened
from faults.checker.topic import TOPIC
from faults.injections.days import OFFICER, operator
from faults.injections.stage import Injection, NotInjected, Stage, until
from faults.load.case import ENDS
from faults.load.cast import INTAKE, SIGNS
from ronghe.case.v1.case_pb2 import Application
from ronghe.event.v1 import event_pb2 as event
from ronghe.operations.v1 import operations_service_pb2 as pb

FLUSH_SECONDS = 60.0
OVERSIZE = 600_000
CONSUMERS = ("governance", "department")
SHARE = 50
"""One message for so many requests that were answered: of what they lead to on the topic, a hundredth."""
LOOK_SECONDS = 0.2
CASE_SECONDS = 60.0
LONGER_SECONDS = 60.0
"""By which poison comes longer than planned where nothing waits behind it yet."""
PAGE = 500
WAITED, FAILED, REDRIVEN = "records that waited behind poison", "redrives that failed", "records that were redriven"
WANTED = (WAITED, FAILED, REDRIVEN)
"""What an operator must have met."""


Facts = Collection[tuple[str, str, str]]
"""What the parties of a case were told."""
Rows = Sequence[tuple[str, str, bytes]]
"""Of one case in one journal, in their order: origin, event id, hash."""


@dataclass(frozen=True, slots=True)
class Poison:
    """One message, and the event id that it claims to have."""

    what: str
    key: bytes
    value: bytes
    headers: Mapping[str, str]

    @property
    def event_id(self) -> str:
        """Empty where it claims none."""
        return self.headers.get("ce_id", "")


async def poisoned(stage: Stage) -> None:
    """Somebody with a service's certificate writes what no deployment would."""
    await _poison(stage, _brew(stage.chance))


def amid_poison(injection: Injection, seconds: float) -> Injection:
    """A hundredth of what is on the topic is poison while this is injected, for so long at least.

    Half of it has the keys of cases that are under way, until something waits behind it: an operator lets them go on.
    Whatever else stops, stays so.
    """

    async def inject(stage: Stage) -> None:
        enough = asyncio.Event()
        pouring = asyncio.create_task(_drip(stage, enough))
        try:
            await asyncio.gather(injection(stage), asyncio.sleep(seconds))
            await until(lambda: any(_has_waiting(stage, name) for name in CONSUMERS), LONGER_SECONDS, WAITED)
        finally:
            enough.set()
            (places,) = await asyncio.gather(pouring, return_exceptions=True)
        if isinstance(places, BaseException):
            raise NotInjected(str(places)) from places
        met: Counter[str] = Counter()
        for name in CONSUMERS:
            async with operator(stage.mesh, name) as client:
                await _Clerk(stage, name, client, met).mend(places)
        stage.figures |= {figure: met[figure] for figure in WANTED}
        if wrong := lacking(met):
            raise NotInjected(wrong)

    return inject


def lacking(met: Mapping[str, int]) -> str:
    """What an operator did not meet; empty where he met everything."""
    found = [figure for figure in WANTED if not met.get(figure)]
    return f"there were no {', no '.join(found)}" if found else ""


def _has_waiting(stage: Stage, name: str) -> bool:
    """Whether one of the load's cases has something behind poison in this subsystem."""
    with opened(stage.mesh.source(name)) as select:
        rows = select("SELECT case_id, event_id FROM dead_letter WHERE settled_at IS NULL ORDER BY id")
    told = stage.load.cast.told
    letters = [(row["case_id"], row["event_id"]) for row in rows if row["case_id"] in told]
    return bool(behind_poison(letters, stage.forged))


def behind_poison(letters: Iterable[tuple[str, str]], forged: Collection[str]) -> Sequence[str]:
    """Of dead letters in their order (case, event id): the event ids of those that are right, but behind poison."""
    spoiled: set[str] = set()
    found = []
    for case_id, event_id in letters:
        if event_id in forged:
            spoiled.add(case_id)
        elif case_id in spoiled:
            found.append(event_id)
    return found


def changed(before: Rows, after: Rows, letters: Sequence[pb.DeadLetter]) -> bool:
    """Whether a redrive that failed has changed a case's journal: a row of before, or by one of what waited.

    What others have said meanwhile stands behind.
    """
    waited = {(letter.origin, letter.event_id) for letter in letters}
    came = {(origin, event_id) for origin, event_id, _ in after[len(before) :]}
    return list(after[: len(before)]) != list(before) or bool(came & waited)


def taken_in(before: Rows, after: Rows, letters: Sequence[pb.DeadLetter]) -> Sequence[tuple[str, str]]:
    """What a redrive has brought into a case's journal of what waited: (origin, event id), in the journal's order."""
    waited = {(letter.origin, letter.event_id) for letter in letters}
    return [row[:2] for row in after[len(before) :] if row[:2] in waited]


async def _drip(stage: Stage, enough: asyncio.Event) -> Mapping[int, int]:
    """Gives the last offset on each partition."""
    own, poured, places = _endless(stage.chance), stage.load.cast.caller.answered - SHARE, dict[int, int]()
    for number in count():
        while stage.load.cast.caller.answered < poured + SHARE and not enough.is_set():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        if enough.is_set() and number:
            break
        poured += SHARE
        known = [(case_id, told.facts) for case_id, told in stage.load.cast.told.items() if not _has_ended(told.facts)]
        is_own = not known or number % 2 == 1
        message = next(own) if is_own else _spoiled(stage.chance, *stage.chance.choice(known))
        for partition, offset in await _poison(stage, [message]):
            places[partition] = max(offset, places.get(partition, 0))
        stage.figures["poison"] = stage.figures.get("poison", 0) + 1
        stage.figures["of it under keys of others' cases"] = stage.figures.get(
            "of it under keys of others' cases", 0
        ) + (not is_own)
    return places


def _has_ended(facts: Facts) -> bool:
    return any((str(INTAKE), name, "") in facts for name in ENDS)


async def _poison(stage: Stage, messages: Sequence[Poison]) -> Sequence[tuple[int, int]]:
    stage.forged.update(each.event_id for each in messages if each.event_id)
    return await asyncio.to_thread(_pour, access(stage.mesh.data, stage.mesh.addresses["kafka"]), messages)


class _Clerk:
    """An operator of one subsystem, who lets the cases of others go on."""

    def __init__(self, stage: Stage, name: str, client: SubsystemClient, met: Counter[str]) -> None:
        self._stage = stage
        self._source = stage.mesh.source(name)
        self._operations = client.operations
        self._met = met
        self._repeated = stage.load.cast.caller.repeated

    async def mend(self, places: Mapping[int, int]) -> None:
        """Once everything up to these offsets was looked at. Raises NotInjected."""
        try:
            async with asyncio.timeout(CASE_SECONDS):
                await self._has_read(places)
        except TimeoutError as error:
            raise NotInjected("what stands behind the poison is not read") from error
        for case_id in {letter.case_id for letter in await self._letters("")}:
            if case_id in self._stage.load.cast.told:
                await self._mend(case_id)

    async def _has_read(self, places: Mapping[int, int]) -> None:
        while True:
            status = await self._repeated(self._operations.get_bridge_status, pb.GetBridgeStatusRequest())
            reached = {each.partition: each.next_offset for each in status.consumers}
            if all(reached.get(partition, 0) > offset for partition, offset in places.items()):
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _letters(self, case_id: str) -> Sequence[pb.DeadLetter]:
        found: list[pb.DeadLetter] = []
        request = pb.ListDeadLettersRequest(case_id=case_id, page_size=PAGE)
        while True:
            answer = await self._repeated(self._operations.list_dead_letters, request)
            found += answer.dead_letters
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token

    async def _mend(self, case_id: str) -> None:
        """Try what stands first again; where that fails, nothing has changed, and the poison is given up."""
        letters, forged = await self._letters(case_id), self._stage.forged
        self._met[WAITED] += len(behind_poison([(letter.case_id, letter.event_id) for letter in letters], forged))
        while letters:
            before = await asyncio.to_thread(self._rows, case_id)
            if await self._redriven(letters[0]):
                await self._check_order(case_id, before, letters)
            else:
                await self._check_unchanged(case_id, before, letters)
                await self._give_up(case_id, letters)
            letters = await self._letters(case_id)

    def _rows(self, case_id: str) -> Rows:
        with opened(self._source) as select:
            rows = select("SELECT origin, event_id, hash FROM journal WHERE case_id = ? ORDER BY position", case_id)
        return [(row["origin"], row["event_id"], bytes(row["hash"])) for row in rows]

    async def _check_order(self, case_id: str, before: Rows, letters: Sequence[pb.DeadLetter]) -> None:
        came = taken_in(before, await asyncio.to_thread(self._rows, case_id), letters)
        if came != [each for letter in letters if (each := (letter.origin, letter.event_id)) in came]:
            raise NotInjected(f"what waited of {case_id} was not taken in in its order: {came}")
        self._met[REDRIVEN] += len(came)

    async def _check_unchanged(self, case_id: str, before: Rows, letters: Sequence[pb.DeadLetter]) -> None:
        self._met[FAILED] += 1
        after = await self._letters(case_id)
        if after[: len(letters)] != list(letters):
            raise NotInjected(f"a redrive that failed has changed what waits of {case_id}")
        if changed(before, await asyncio.to_thread(self._rows, case_id), letters):
            raise NotInjected(f"a redrive that failed has changed the journal of {case_id}")

    async def _give_up(self, case_id: str, letters: Sequence[pb.DeadLetter]) -> None:
        bad = next((letter for letter in letters if letter.event_id in self._stage.forged), None)
        if bad is None:
            raise NotInjected(f"{letters[0].type} of {case_id} is set aside: {letters[0].problem}")
        request = pb.DiscardDeadLetterRequest(dead_letter_id=bad.dead_letter_id, actor=OFFICER, reason="伪造")
        await self._repeated(self._operations.discard_dead_letter, completed(request))

    async def _redriven(self, letter: pb.DeadLetter) -> bool:
        request = pb.RedriveDeadLetterRequest(dead_letter_id=letter.dead_letter_id, actor=OFFICER, reason="重新处理")
        try:
            await self._repeated(self._operations.redrive_dead_letter, completed(request))
        except Refused as refused:
            if refused.reason != "REDRIVE_FAILED":
                raise NotInjected(f"a redrive is refused: {refused.reason}") from refused
            return False
        return True


def _endless(chance: Random) -> Iterator[Poison]:
    while True:
        yield from _brew(chance)


def _spoiled(chance: Random, case_id: str, facts: Facts) -> Poison:
    """One under the key of somebody else's case."""
    key, headers = case_id.encode(), _headers
    # Who has it already cannot be given it again.
    openings = [_opening(case_id, to.removeprefix("organ/")) for to, name, _ in facts if name == "Submitted"]
    choices = [
        Poison("undecodable", key, b"\xff" * 50, headers(chance, "Submitted", "intake-01")),
        Poison("oversize", key, chance.randbytes(OVERSIZE), headers(chance, "Accepted", "elsewhere-01")),
        Poison("of an unknown type", key, b"", headers(chance, "Levitated", "elsewhere-01")),
        Poison("said by the wrong party", key, b"", headers(chance, "Decided", "x-9")),
        *(_consistent("impossible", opening, headers(chance, "Submitted", "intake-01")) for opening in openings),
    ]
    return chance.choice(choices)


def _brew(chance: Random) -> Sequence[Poison]:
    """One of each."""
    unknown_case = event.Decided()
    submitted, out_of_range = _opening(_uuid(chance), SIGNS.lead), _opening(_uuid(chance), SIGNS.lead)
    out_of_range.application.submitted_at.seconds = 2**62
    return [
        Poison("without headers", _key(chance), chance.randbytes(100), {}),
        Poison("no key", b"", b"", _headers(chance, "Accepted", "department-01")),
        Poison("undecodable", _key(chance), b"\xff" * 50, _headers(chance, "Submitted", "governance-01")),
        Poison("oversize", _key(chance), chance.randbytes(OVERSIZE), _headers(chance, "Decided", "department-01")),
        Poison("of an unknown type", _key(chance), b"", _headers(chance, "Levitated", "elsewhere-01")),
        Poison(
            "impossible", _key(chance), unknown_case.SerializeToString(), _headers(chance, "Decided", "department-01")
        ),
        _consistent("said by the wrong party", submitted, _headers(chance, "Submitted", "x-9")),
        _consistent("with a time out of range", out_of_range, _headers(chance, "Submitted", "intake-01")),
        Poison("with odd ids", _key(chance), b"", {**_headers(chance, "Closed", "\0"), "ce_id": "no uuid"}),
    ]


def _opening(case_id: str, lead: str) -> event.Submitted:
    application = Application(case_id=case_id, intake_id=INTAKE.id)
    application.lead.id, application.lead.deployment = lead, "department-01"
    return event.Submitted(application=application)


def _consistent(what: str, fact: event.Submitted, headers: Mapping[str, str]) -> Poison:
    """An opening that fits together but for one thing."""
    return Poison(what, fact.application.case_id.encode(), fact.SerializeToString(), headers)


def _pour(settings: Mapping[str, Any], messages: Sequence[Poison]) -> Sequence[tuple[int, int]]:
    """Write them to the topic, and give their places; blocking. Raises RuntimeError where the broker takes one not."""
    errors: list[str] = []
    places: list[tuple[int, int]] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            errors.append(error.str())
        else:
            places.append((message.partition() or 0, message.offset() or 0))

    # Where the bridges would put it: with the other records of its case.
    producer = Producer({**settings, "message.max.bytes": 2 * OVERSIZE, "partitioner": "murmur2_random"})
    for each in messages:
        headers: list[Any] = [(name, text.encode()) for name, text in each.headers.items()]
        producer.produce(TOPIC, value=each.value, key=each.key or None, headers=headers, on_delivery=delivered)
    left = producer.flush(FLUSH_SECONDS)
    if left or errors:
        raise RuntimeError(f"the broker did not take the poison: {errors or f'{left} messages wait'}")
    return places


def _headers(chance: Random, name: str, origin: str) -> dict[str, str]:
    return {
        "content-type": "application/protobuf",
        "ce_specversion": "1.0",
        "ce_id": _uuid(chance),
        "ce_source": origin,
        "ce_type": f"ronghe.event.v1.{name}",
        "ce_time": "2026-11-23T08:00:00.000000Z",
        "ce_subject": "poison/1",
        "ce_streamversion": "1",
        "ce_causes": "",
    }


def _key(chance: Random) -> bytes:
    return _uuid(chance).encode()


def _uuid(chance: Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))
