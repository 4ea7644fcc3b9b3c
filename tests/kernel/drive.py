"""How tests talk to a kernel."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Connection, select

from bridge.ports import Arrived, Cursor
from bridge.record import Arrival, Record
from clients.identity import Identity
from clients.telemetry import SpanContext
from ronghe.case.v1 import case_pb2
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.event.v1 import event_pb2 as event
from servers.kernel import tables
from servers.kernel.kernel import Kernel

ORGAN = Identity("organ", "fire-500103")


@dataclass(frozen=True)
class ToyCall:
    caller: Identity
    deadline: float
    span: SpanContext | None = None


def new_case() -> str:
    return str(uuid4())


def step(
    case_id: str, name: str = "look", request_id: str | None = None, **fields: Any
) -> department.RecordStepRequest:
    return department.RecordStepRequest(
        request_id=request_id or str(uuid4()), case_id=case_id, step=case_pb2.Step(name=name, **fields)
    )


async def execute(kernel: Kernel, command: Message, caller: Identity = ORGAN, seconds: float = 60) -> Any:
    return await kernel.execute(command, ToyCall(caller, time.monotonic() + seconds), Message)


def foreign(case_id: str, fact: Message | None = None, *, origin: str = "intake-01", event_id: str | None = None,
            version: int = 1) -> Record:  # fmt: skip
    fact = fact or event.StepRecorded(occurred_at=Timestamp(seconds=1), step=case_pb2.Step(name="far away"))
    return Record(
        event_id=event_id or str(uuid4()),
        origin=origin,
        case_id=case_id,
        stream=f"elsewhere/{case_id}",
        version=version,
        causes=(),
        recorded_at=datetime(2026, 11, 23, tzinfo=UTC),
        type=fact.DESCRIPTOR.full_name,
        body=fact.SerializeToString(),
        fact=fact,
        arrival=Arrival.KAFKA,
    )


async def absorb(kernel: Kernel, *records: Record, offset: int = 0) -> None:
    items = [Arrived(record, f"kafka/t/0/{offset + number}") for number, record in enumerate(records)]
    await kernel.absorb(items, [Cursor("kafka/t/0", {"offset": offset + len(records)})])


@asynccontextmanager
async def one_batch(kernel: Kernel) -> AsyncIterator[None]:
    """What is asked for in the block comes into one transaction."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        begun.set()
        go_on.wait(10)

    holding = asyncio.create_task(kernel.write(hold))
    await asyncio.to_thread(begun.wait, 10)
    try:
        yield
        await asyncio.sleep(0)  # the tasks of the block have submitted their work
    finally:
        go_on.set()
        await holding


async def rows(kernel: Kernel, table: Any = tables.journal) -> list[Any]:
    def query(connection: Connection) -> list[Any]:
        return list(connection.execute(select(table).order_by(*table.primary_key.columns)).all())

    return await kernel.read(query)


async def types(kernel: Kernel) -> list[str]:
    return [row.type.rpartition(".")[2] for row in await rows(kernel)]
