"""The organ of the flood comes to work: it refuses every case that waits for it: `python -m faults.load.desk_work`.

A process of its own, which works until a line comes on its standard input.
"""

import argparse
import asyncio
import base64
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

from google.protobuf.message import Message

from clients.base import completed
from clients.department import DepartmentClient
from clients.errors import Overloaded
from clients.identity import Identity
from clients.intake import IntakeClient
from faults.load.caller import marked
from faults.load.case import OFFICER, REMEDIES
from faults.load.durable import DurableLog
from faults.load.flood import DESK, PARTY
from faults.load.parties import Receiver
from ronghe.department.v1.department_service_pb2 import RefuseAcceptanceRequest
from ronghe.event.v1.event_pb2 import Event

INTAKE = Identity("intake", PARTY)
TOGETHER = 200
"""Requests that are written down together."""


class Office:
    """What waits to be refused, and what was."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[RefuseAcceptanceRequest] = asyncio.Queue()
        self._begun: set[str] = set()

    def told(self, receiver: str, event: Event) -> None:
        """A delivery, perhaps a repeated one."""
        name = event.fact.type_url.rpartition(".")[2]
        if name == "Submitted" and event.case_id not in self._begun:
            self._begun.add(event.case_id)
            self.put(marked(completed(_refusal(event.case_id))))

    def put(self, request: RefuseAcceptanceRequest) -> None:
        """Have it sent, again where it was refused for the moment."""
        self._waiting.put_nowait(request)

    async def refusals(self, log: DurableLog) -> AsyncIterator[RefuseAcceptanceRequest]:
        """One for each case, written down; without an end."""
        while True:
            waiting = [await self._waiting.get()]
            while not self._waiting.empty() and len(waiting) < TOGETHER:
                waiting.append(self._waiting.get_nowait())
            await asyncio.gather(*(_sent(log, request) for request in waiting))
            for request in waiting:
                yield request


async def _sent(log: DurableLog, request: RefuseAcceptanceRequest) -> None:
    key = {"caller": str(DESK.organ), "request_id": request.request_id}
    await log.write({"kind": "sent", **key, "command": type(request).__name__, "body": _text(request)})


def _refusal(case_id: str) -> RefuseAcceptanceRequest:
    return RefuseAcceptanceRequest(
        case_id=case_id,
        actor=OFFICER,
        reasons=["申请事项依法不属于本机关职权范围"],
        basis=["行政许可法 第三十二条第一款第二项"],
        competent_body="有权机关",
        remedies=REMEDIES,
    )


async def _refuse(organ: DepartmentClient, office: Office, log: DurableLog) -> None:
    async for answer in organ.execute_many(office.refusals(log)):
        if isinstance(answer.error, Overloaded):
            office.put(cast("RefuseAcceptanceRequest", answer.request))
            continue
        response = answer.result()
        key = {"caller": str(DESK.organ), "request_id": answer.request.request_id}
        kind = response.DESCRIPTOR.full_name
        await log.write({"kind": "answered", **key, "answer_type": kind, "answer": _text(response)})


def _text(message: Message) -> str:
    return base64.b64encode(message.SerializeToString()).decode()


async def main() -> None:
    """Work until it is told to stop."""
    arguments = _arguments()
    office = Office()
    async with AsyncExitStack() as stack:
        sent = stack.enter_context(DurableLog(arguments.log / "requests-desk.jsonl"))
        given = stack.enter_context(DurableLog(arguments.log / "deliveries-desk.jsonl"))
        organ = await stack.enter_async_context(DepartmentClient(arguments.department, arguments.pki, DESK.organ))
        intake = await stack.enter_async_context(IntakeClient(arguments.intake, arguments.pki, INTAKE))
        works = [
            Receiver("department", DESK.organ, organ, given, office.told).run(),
            Receiver("intake", INTAKE, intake, given, office.told).run(),
            _refuse(organ, office, sent),
        ]
        running = [asyncio.create_task(work) for work in works]
        done = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        finished, _ = await asyncio.wait({done, *running}, return_when=asyncio.FIRST_COMPLETED)
        for task in finished:
            task.result()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="desk_work")
    parser.add_argument("--department", required=True, help="its address")
    parser.add_argument("--intake", required=True, help="its address")
    parser.add_argument("--pki", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True, help="folder")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
