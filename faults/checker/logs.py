"""Reads what the load wrote down: requests before they were sent, answers and deliveries before they counted.

One JSON object a line. `kind` says what it is: "sent" (caller, command, request_id, body, spoiled), "answered"
(answer_type, answer, again), "refused" (reason), "given" (subsystem, receiver, epoch, sequence, event) and "shown"
(party, case_id, answer_type, answer); bytes are in base64.
"""

import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from faults.checker.history import Delivery, Event, Request, Shown, parse
from faults.checker.marks import mark_of
from ronghe.case.v1 import case_service_pb2  # noqa: F401 - makes the answers known by name
from ronghe.collaboration.v1 import collaboration_service_pb2  # noqa: F401
from ronghe.department.v1 import department_service_pb2  # noqa: F401
from ronghe.document.v1 import document_service_pb2  # noqa: F401
from ronghe.event.v1 import event_pb2
from ronghe.governance.v1 import governance_service_pb2  # noqa: F401
from ronghe.intake.v1 import intake_service_pb2  # noqa: F401


def requests(paths: Iterable[Path]) -> Sequence[Request]:
    """Every request, with what came of it."""
    sent: dict[tuple[str, str], dict[str, Any]] = {}
    answers: dict[tuple[str, str], list[Message]] = defaultdict(list)
    refusals: dict[tuple[str, str], str] = {}
    again: set[tuple[str, str]] = set()
    for line in _lines(paths):
        key = line["caller"], line["request_id"]
        match line["kind"]:
            case "sent":
                sent[key] = line
            case "answered":
                answers[key].append(parse(line["answer_type"], base64.b64decode(line["answer"])))
                if line.get("again"):
                    again.add(key)
            case "refused":
                refusals[key] = line["reason"]
    return [
        Request(
            caller=key[0],
            command=line["command"],
            mark=mark_of(key[1]),
            body=base64.b64decode(line["body"]),
            answers=answers[key],
            refusal=refusals.get(key, ""),
            again=key in again,
            spoiled=line.get("spoiled", False),
        )
        for key, line in sent.items()
    ]


def deliveries(paths: Iterable[Path]) -> Sequence[Delivery]:
    """Every item as it was given, repeats included, in the order in which it came."""
    return [
        Delivery(
            subsystem=line["subsystem"],
            receiver=line["receiver"],
            epoch=line["epoch"],
            sequence=line["sequence"],
            event=event_of(base64.b64decode(line["event"])),
        )
        for line in _lines(paths)
    ]


def shown(paths: Iterable[Path]) -> Sequence[Shown]:
    """Every answer to a read."""
    return [
        Shown(
            party=line["party"],
            case_id=line["case_id"],
            answer=parse(line["answer_type"], base64.b64decode(line["answer"])),
        )
        for line in _lines(paths)
    ]


def event_of(body: bytes) -> Event:
    """The event of an inbox item."""
    found = event_pb2.Event.FromString(body)
    return Event(
        id=found.id,
        origin=found.origin,
        case_id=found.case_id,
        stream=found.stream,
        version=found.version,
        causes=tuple(found.causes),
        type=found.fact.type_url.rpartition("/")[2],
        recorded_at=found.recorded_at.ToMicroseconds(),
        body=found.fact.value,
    )


def _lines(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield json.loads(line)
