"""Applications at a rate that does not ask who can take them: `python -m faults.load.flood`, a process of its own.

Everything is made, and written down as sent, before the first one goes out: nothing but sending and writing down
answers is left then. `ready` is said on standard output; the flood begins with a line on standard input, and ends with
what came of it, as JSON.
"""

import argparse
import asyncio
import base64
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import grpc
import uuid_utils
from google.protobuf.message import Message

from clients.channel import SERVER_NAME
from clients.credentials import Credentials
from clients.errors import RongheError, error_of, error_of_status
from clients.identity import Identity
from clients.intake import IntakeClient
from faults.checker.marks import mark_of
from faults.load.applications import Desk, application
from faults.load.caller import marked
from ronghe.catalog.v1.catalog_service_pb2 import ListServiceItemsRequest
from ronghe.intake.v1 import intake_service_pb2 as pb

PARTY = "flood"
TERMINAL = Identity("terminal", PARTY)
DESK = Desk("IT-027", "500104001", "market-reg-500104001")
"""An organ that has no part in the load."""
CONNECTIONS = 4
TICK_SECONDS = 0.005
BURST = 16
"""So many at once when it is late, before answers are looked at."""
MESSAGE = 25
"""Applications in a message of a stream, of the 100 that it may carry."""
CALL_SECONDS = 20.0
"""More than a refusal may take."""
SUBMIT = "/ronghe.intake.v1.IntakeService/SubmitApplication"
SUBMIT_MANY = "/ronghe.intake.v1.IntakeService/SubmitApplications"


@dataclass
class Outcome:
    """What came of it."""

    offered: int = 0
    accepted: int = 0
    refused: int = 0
    """RESOURCE_EXHAUSTED, with a word on when to try again."""
    others: Counter[str] = field(default_factory=Counter)
    """Any other end."""
    late: float = 0.0
    """Seconds by which this process itself was late at most: it was not given the time."""
    slowest: float = 0.0
    """Seconds until a unary call had its answer."""


class Flood:
    """Requests that are ready, and what is answered."""

    def __init__(self, log: IO[bytes], bodies: Sequence[tuple[str, bytes]]) -> None:
        self._log = log
        self._bodies = bodies
        self.outcome = Outcome()

    async def unary(self, channels: Sequence[grpc.aio.Channel], rate: float) -> None:
        """Each as a call of its own, whatever became of those before."""
        calls: list[Any] = [channel.unary_unary(SUBMIT) for channel in channels]
        running: set[asyncio.Task[None]] = set()
        async for number in _paced(len(self._bodies), rate, self.outcome):
            task = asyncio.create_task(self._call(calls[number % len(calls)], *self._bodies[number]))
            running.add(task)
            task.add_done_callback(running.discard)
            self.outcome.offered += 1
        while running:
            await asyncio.wait(running)

    async def _call(self, call: Callable[..., Awaitable[bytes]], request_id: str, body: bytes) -> None:
        started = time.monotonic()
        try:
            answer = await call(body, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            self._failed(request_id, error_of(error))
        else:
            self._accepted(request_id, answer)
        self.outcome.slowest = max(self.outcome.slowest, time.monotonic() - started)

    async def bulk(self, channels: Sequence[grpc.aio.Channel], rate: float) -> None:
        """On streams: what the server does not read yet is held back."""
        parts = [self._bodies[number :: len(channels)] for number in range(len(channels))]
        streams = [
            self._stream(channel, part, rate / len(channels)) for channel, part in zip(channels, parts, strict=True)
        ]
        await asyncio.gather(*streams)

    async def _stream(self, channel: grpc.aio.Channel, part: Sequence[tuple[str, bytes]], rate: float) -> None:
        method: Any = channel.stream_stream(SUBMIT_MANY)
        call = method()
        writing = asyncio.create_task(self._write(call, part, rate))
        try:
            async for body in call:
                for answer in pb.SubmitApplicationsResponse.FromString(body).results:
                    if answer.HasField("accepted"):
                        self._accepted(answer.request_id, answer.accepted.SerializeToString())
                    else:
                        self._failed(answer.request_id, error_of_status(answer.failed))
        except grpc.aio.AioRpcError as error:
            self.outcome.others[f"stream: {error.code().name} {error.details()}"] += 1
        await writing

    async def _write(self, call: Any, part: Sequence[tuple[str, bytes]], rate: float) -> None:
        """For as long as it should take; what is held back then is not offered any more."""
        messages = [part[first : first + MESSAGE] for first in range(0, len(part), MESSAGE)]
        end = time.monotonic() + len(part) / rate
        async for number in _paced(len(messages), rate / MESSAGE, self.outcome):
            if time.monotonic() > end:
                break
            item = pb.SubmitApplicationsRequest()
            for _, body in messages[number]:
                item.applications.add().ParseFromString(body)
            await call.write(item.SerializeToString())
            self.outcome.offered += len(messages[number])
        await call.done_writing()

    def _accepted(self, request_id: str, answer: bytes) -> None:
        self.outcome.accepted += 1
        kind = pb.SubmitApplicationResponse.DESCRIPTOR.full_name
        self._note({"kind": "answered", "answer_type": kind, "answer": _text(answer)}, request_id)

    def _failed(self, request_id: str, error: RongheError) -> None:
        if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED and error.retry_after is not None:
            self.outcome.refused += 1
            self._note({"kind": "refused", "reason": error.reason}, request_id)
        else:
            self.outcome.others[f"{error.code.name} {error.reason}"] += 1

    def _note(self, entry: dict[str, str], request_id: str) -> None:
        self._log.write(json.dumps({**entry, "caller": str(TERMINAL), "request_id": request_id}).encode() + b"\n")


async def _paced(count: int, rate: float, outcome: Outcome) -> AsyncIterator[int]:
    """0, 1, 2 ... when each is due."""
    started = time.monotonic()
    for number in range(count):
        early = started + number / rate - time.monotonic()
        if early > 0 or number % BURST == 0:
            await asyncio.sleep(max(early, TICK_SECONDS) if early > 0 else 0)
        outcome.late = max(outcome.late, -early)
        yield number


def _bodies(template: Message, count: int) -> Iterator[tuple[str, bytes]]:
    """So many requests: the same but for their ids and marks."""
    found: Any = template
    body, first = template.SerializeToString(), found.request_id
    for _ in range(count):
        request_id = str(uuid_utils.uuid7())
        other = body.replace(first.encode(), request_id.encode())
        yield request_id, other.replace(mark_of(first).encode(), mark_of(request_id).encode())


async def main() -> None:
    """Make ready, wait for the word, and flood."""
    arguments = _arguments()
    template = await _template(arguments.address, arguments.pki)
    with arguments.log.open("wb") as log:
        bodies = list(_bodies(template, round(arguments.rate * arguments.seconds)))
        for request_id, body in bodies:
            sent = {"kind": "sent", "command": type(template).__name__, "body": _text(body)}
            log.write(json.dumps({**sent, "caller": str(TERMINAL), "request_id": request_id}).encode() + b"\n")
        log.flush()
        async with AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(_channel(arguments, number)) for number in range(CONNECTIONS)]
            await asyncio.gather(*(channel.channel_ready() for channel in channels))
            flood = Flood(log, bodies)
            _say("ready")
            await asyncio.to_thread(sys.stdin.readline)
            await getattr(flood, arguments.way)(channels, arguments.rate)
        _say(json.dumps(vars(flood.outcome)))


async def _template(address: str, pki: Path) -> Message:
    async with IntakeClient(address, pki, TERMINAL) as client:
        found = await client.catalog.list_service_items(ListServiceItemsRequest(page_size=500))
    item = next(item for item in found.items if item.code == DESK.item)
    request = application(DESK, item, 0)
    request.request_id = str(uuid_utils.uuid7())
    request.occurred_at.GetCurrentTime()
    return marked(request)


def _channel(arguments: argparse.Namespace, number: int) -> grpc.aio.Channel:
    """A connection of its own; nothing is sent twice."""
    credentials = Credentials.load(arguments.pki, TERMINAL)
    tls = grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)
    options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.enable_retries", 0), ("ronghe.number", number)]
    return grpc.aio.secure_channel(arguments.address, tls, options=options)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="flood")
    parser.add_argument("way", choices=["unary", "bulk"])
    parser.add_argument("--address", required=True, help="of intake")
    parser.add_argument("--pki", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True, help="applications a second")
    parser.add_argument("--seconds", type=float, required=True)
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


if __name__ == "__main__":
    asyncio.run(main())
