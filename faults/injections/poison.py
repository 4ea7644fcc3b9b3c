"""Poison on the topic: messages that no honest deployment would write, each of a case of its own."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from confluent_kafka import KafkaError, Message, Producer

from faults.checker.collect import access
from faults.checker.topic import TOPIC
from faults.injections.stage import Stage
from ronghe.case.v1.case_pb2 import Application
from ronghe.event.v1 import event_pb2 as event

FLUSH_SECONDS = 20.0
OVERSIZE = 600_000


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
    messages = _brew(stage.chance)
    stage.forged.update(each.event_id for each in messages if each.event_id)
    await asyncio.to_thread(_pour, access(stage.mesh.data, stage.mesh.addresses["kafka"]), messages)


def _brew(chance: Random) -> Sequence[Poison]:
    """One of each."""
    unknown_case = event.Decided()
    submitted = event.Submitted(application=Application(case_id=_uuid(chance), intake_id="yukuaiban"))
    out_of_range = event.Submitted(application=Application(intake_id="yukuaiban"))
    out_of_range.application.submitted_at.seconds = 2**62
    out_of_range.application.lead.id, out_of_range.application.lead.deployment = "urban-mgmt-500103", "department-01"
    return [
        Poison("without headers", _key(chance), chance.randbytes(100), {}),
        Poison("no key", b"", b"", _headers(chance, "Accepted", "department-01")),
        Poison("undecodable", _key(chance), b"\xff" * 50, _headers(chance, "Submitted", "governance-01")),
        Poison("oversize", _key(chance), chance.randbytes(OVERSIZE), _headers(chance, "Decided", "department-01")),
        Poison("of an unknown type", _key(chance), b"", _headers(chance, "Levitated", "elsewhere-01")),
        Poison(
            "impossible", _key(chance), unknown_case.SerializeToString(), _headers(chance, "Decided", "department-01")
        ),
        Poison(
            "said by the wrong party", _key(chance), submitted.SerializeToString(), _headers(chance, "Submitted", "x-9")
        ),
        _consistent("with a time out of range", out_of_range, chance),
        Poison("with odd ids", _key(chance), b"", {**_headers(chance, "Closed", "\0"), "ce_id": "no uuid"}),
    ]


def _consistent(what: str, fact: event.Submitted, chance: Random) -> Poison:
    """An opening that fits together but for one thing."""
    case_id = fact.application.case_id = _uuid(chance)
    return Poison(what, case_id.encode(), fact.SerializeToString(), _headers(chance, "Submitted", "intake-01"))


def _pour(settings: Mapping[str, Any], messages: Sequence[Poison]) -> None:
    """Write them to the topic; blocking. Raises RuntimeError where the broker does not take one."""
    errors: list[str] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            errors.append(error.str())

    producer = Producer({**settings, "message.max.bytes": 2 * OVERSIZE})
    for each in messages:
        headers: list[Any] = [(name, text.encode()) for name, text in each.headers.items()]
        producer.produce(TOPIC, value=each.value, key=each.key or None, headers=headers, on_delivery=delivered)
    if producer.flush(FLUSH_SECONDS) or errors:
        raise RuntimeError(f"the broker did not take the poison: {errors}")


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
