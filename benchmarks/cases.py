"""Completed plain cases a second, with everything on: `python -m benchmarks.cases`.

A case is completed when the intake system has the decision in its inbox: application -> intake -> center -> Kafka ->
organ -> acceptance and decision -> Kafka -> center -> intake. The load comes from one process on the same machine, in
a closed loop, so many cases at a time. The control is a bare unary call (health check) to the intake server over the
same kind of channel, before and after: where it moves, the machine did.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc

from clients.channel import open_channel
from clients.credentials import Credentials
from clients.demo.applications import Applicants
from clients.demo.desks import find_desks
from clients.demo.plan import Desk
from clients.demo.run import INTAKE
from clients.demo.stage import Stage, stage
from clients.demo.story import OFFICER
from clients.department import Command, DepartmentClient
from clients.identity import Identity
from clients.intake import IntakeClient
from ronghe.catalog.v1.catalog_pb2 import SILENCE_POLICY_BLOCK
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.event.v1 import event_pb2
from ronghe.intake.v1.intake_service_pb2 import SubmitApplicationRequest

ECHO_SECONDS = 3.0
ECHO_AT_ONCE = 64
WARM_UP_SECONDS = 15.0
ORGANS = 10


class Load:
    """Keeps so many cases under way, and counts those that complete."""

    def __init__(
        self, terminal: IntakeClient, receiver: IntakeClient, desks: Sequence[Desk], at_once: int, bulk: bool
    ) -> None:
        self._terminal = terminal
        self._receiver = receiver
        self._desks = desks
        self._room = asyncio.Semaphore(at_once)
        self._bulk = bulk
        self._started: dict[str, float] = {}
        self.completed: list[tuple[float, float]] = []
        """(when, seconds from the submission to the decision at intake)"""

    async def submit(self) -> None:
        """Hand applications in, without end."""
        if self._bulk:
            async for answer in self._terminal.submit_many(self._applications()):
                answer.result()
        else:
            async with asyncio.TaskGroup() as group:
                async for request in self._applications():
                    group.create_task(self._submit_one(request))

    async def _submit_one(self, request: SubmitApplicationRequest) -> None:
        await self._terminal.submit_application(request)

    async def _applications(self) -> AsyncIterator[SubmitApplicationRequest]:
        applicants, number = Applicants(f"{os.getpid()}"), 0
        while True:
            await self._room.acquire()
            request = applicants.application(self._desks[number % len(self._desks)])
            number += 1
            self._started[request.external_no] = time.monotonic()
            yield request

    async def act(self, organ: DepartmentClient) -> None:
        """An organ that accepts and grants whatever it gets."""
        if self._bulk:
            await self._act_in_bulk(organ)
            return
        async with asyncio.TaskGroup() as group:
            async for item in organ.inbox(credit=500):
                if item.event.fact.Is(event_pb2.Submitted.DESCRIPTOR):
                    group.create_task(self._grant(organ, item.event.case_id))
                await item.ack()

    async def _act_in_bulk(self, organ: DepartmentClient) -> None:
        """The same by one stream of commands: each decision follows the answer to its acceptance."""
        commands: asyncio.Queue[Command] = asyncio.Queue()

        async def listen() -> None:
            async for item in organ.inbox(credit=500):
                if item.event.fact.Is(event_pb2.Submitted.DESCRIPTOR):
                    commands.put_nowait(_acceptance(item.event.case_id))
                await item.ack()

        async def execute() -> None:
            async for answer in organ.execute_many(_each(commands)):
                match answer.request, answer.result():
                    case department.AcceptApplicationRequest(case_id=case_id), department.AcceptApplicationResponse(
                        version=version
                    ):
                        commands.put_nowait(_grant(case_id, version))

        async with asyncio.TaskGroup() as group:
            group.create_task(listen())
            group.create_task(execute())

    async def _grant(self, organ: DepartmentClient, case_id: str) -> None:
        accepted = await organ.accept_application(_acceptance(case_id))
        await organ.decide_application(_grant(case_id, accepted.version))

    async def receive(self) -> None:
        """The intake system: a decision completes a case."""
        async for item in self._receiver.inbox(credit=1000):
            now = time.monotonic()
            if item.event.fact.Is(event_pb2.Decided.DESCRIPTOR):
                self.completed.append((now, 0.0))
                self._room.release()
            await item.ack()


def _is_plain(desk: Desk) -> bool:
    """Whether no rule of the item can demand that others are asked."""
    return all(rule.silence_policy != SILENCE_POLICY_BLOCK for rule in desk.item.collaborators)


def _acceptance(case_id: str) -> department.AcceptApplicationRequest:
    nobody = department.AcceptApplicationRequest.NoCollaboration(reason="不涉及其他部门")
    return department.AcceptApplicationRequest(case_id=case_id, actor=OFFICER, none=nobody)


def _grant(case_id: str, version: int) -> department.DecideApplicationRequest:
    granted = department.DecideApplicationRequest.Granted(certificate_number=case_id[:8])
    return department.DecideApplicationRequest(case_id=case_id, actor=OFFICER, if_version=version, granted=granted)


async def _each(commands: "asyncio.Queue[Command]") -> AsyncIterator[Command]:
    while True:
        yield await commands.get()


async def echo(here: Stage) -> float:
    """Bare unary calls a second."""
    async with open_channel(
        here.addresses["intake"], Credentials.load(here.pki, Identity("terminal", INTAKE))
    ) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request, count, end = health_pb2.HealthCheckRequest(), 0, time.monotonic() + ECHO_SECONDS

        async def call() -> None:
            nonlocal count
            while time.monotonic() < end:
                await stub.Check(request)
                count += 1

        await asyncio.gather(*(call() for _ in range(ECHO_AT_ONCE)))
    return count / ECHO_SECONDS


async def measure(here: Stage, seconds: float, at_once: int, bulk: bool) -> None:
    """Run the load, print the figures."""
    before = await echo(here)
    async with AsyncExitStack() as stack:
        terminal = await stack.enter_async_context(
            IntakeClient(here.addresses["intake"], here.pki, Identity("terminal", INTAKE), timeout=30)
        )
        receiver = await stack.enter_async_context(
            IntakeClient(here.addresses["intake"], here.pki, Identity("intake", INTAKE))
        )
        desks = [desk for desk in await find_desks(terminal) if _is_plain(desk)][:ORGANS]
        load = Load(terminal, receiver, desks, at_once, bulk)
        tasks = [asyncio.create_task(load.receive()), asyncio.create_task(load.submit())]
        for desk in desks:
            identity = Identity("organ", desk.organ.id)
            organ = DepartmentClient(here.addresses["department"], here.pki, identity, timeout=30)
            tasks.append(asyncio.create_task(load.act(await stack.enter_async_context(organ))))
        try:
            await _run(tasks, WARM_UP_SECONDS)
            first, spent = len(load.completed), cpu_seconds(here)
            await _run(tasks, seconds)
            spent = {name: now - spent[name] for name, now in cpu_seconds(here).items()}
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    completed = len(load.completed) - first
    after = await echo(here)
    print(f"completed plain cases: {completed / seconds:.0f} a second ({completed} in {seconds:.0f} s)")
    print(f"  {at_once} under way, {'bulk streams' if bulk else 'unary calls'}, {len(desks)} organs")
    for name, cpu in spent.items():
        print(f"  {name}: {cpu / max(completed, 1) * 1e6:.0f} us of CPU a case, {cpu / seconds * 100:.0f} % of a core")
    print(f"control, bare unary calls: {before:.0f} a second before, {after:.0f} after")


def cpu_seconds(here: Stage) -> dict[str, float]:
    """CPU time of every process so far, the load's own included; empty where there is no /proc."""
    endpoints = json.loads((here.data / "run" / "endpoints.json").read_text())
    pids = {name: entry["pid"] for name, entry in endpoints.items()} | {"load": os.getpid()}
    return {name: _cpu(pid) for name, pid in pids.items() if Path(f"/proc/{pid}/stat").exists()}


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _run(tasks: "Sequence[asyncio.Task[None]]", seconds: float) -> None:
    """Let the load run; a task that ends before the time is a failure, and raises."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def main() -> None:
    """Measure on a mesh of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--at-once", type=int, default=400)
    parser.add_argument("--bulk", action="store_true", help="submit and act by the bulk streams")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ronghe-bench-") as folder, stage(Path(folder), 0) as here:
        asyncio.run(measure(here, arguments.seconds, arguments.at_once, arguments.bulk))


if __name__ == "__main__":
    main()
