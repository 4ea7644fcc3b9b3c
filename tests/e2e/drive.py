"""Drives a mesh from outside: its processes, its parties, its cases, and what its journals hold."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from clients.base import completed
from clients.demo.applications import Applicants
from clients.demo.plan import Desk, Ending
from clients.demo.run import Director
from clients.demo.story import OFFICER, REMEDIES, Story
from clients.department import DepartmentClient
from clients.errors import DeadlineExceeded, NotFound, Unavailable
from clients.identity import Identity
from clients.intake import IntakeClient
from clients.subsystem import SubsystemClient
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.department.v1 import department_service_pb2 as department
from ronghe.event.v1.event_pb2 import Event
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.operations.v1.operations_service_pb2 import VerifyJournalRequest

SUBSYSTEMS = ("intake", "governance", "department")
COMMANDS = {name: f"servers.{name}" for name in SUBSYSTEMS} | {"kafka": "kafka.Kafka"}
OPERATOR, AUDITOR = Identity("operator", "local"), Identity("auditor", "local")
TERMINAL, INTAKE = Identity("terminal", "yukuaiban"), Identity("intake", "yukuaiban")
START_SECONDS = 120.0
PATIENCE = 90.0

# What intake says itself in a case; the lead's facts come from the plan.
SAID_BY_INTAKE: Mapping[Ending, Sequence[str]] = {
    Ending.CORRECTED: ("Submitted", "Supplemented"),
    Ending.PAUSED: ("Submitted", "Supplemented"),
    Ending.WITHDRAWN: ("Submitted", "WithdrawalRequested"),
    Ending.WITHDRAWAL_DECLINED: ("Submitted", "WithdrawalRequested"),
}


@dataclass(eq=False)
class Mesh:
    """A mesh in a child process of its own."""

    data: Path
    process: "subprocess.Popen[str]"
    addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def pki(self) -> Path:
        return self.data / "pki"

    def pid(self, name: str) -> int:
        """Of the process that runs now; 0 while there is none."""
        return next((pid for pid in _children(self.process.pid) if COMMANDS[name] in _command(pid)), 0)

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to one of the mesh's processes; gives its pid."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def stop(self) -> tuple[int, str, str]:
        """SIGTERM; exit status, standard output and standard error."""
        self.process.terminate()
        output, errors = self.process.communicate(timeout=45)
        return self.process.returncode, output, errors

    def client(self, subsystem: str, identity: Identity) -> SubsystemClient:
        """Any party at any subsystem."""
        return SubsystemClient(self.addresses[subsystem], self.pki, identity)

    def intake(self, identity: Identity = TERMINAL) -> "PatientIntake":
        return PatientIntake(self.addresses["intake"], self.pki, identity)

    def department(self, organ: str) -> "PatientDepartment":
        return PatientDepartment(self.addresses["department"], self.pki, Identity("organ", organ))

    def rows(self, subsystem: str, statement: str, *values: object) -> list[Any]:
        """Plain SQL over a subsystem's database."""
        path = self.data / "db" / f"{subsystem}.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(statement, values).fetchall()

    def recorded(self, subsystem: str, case_id: str) -> list[str]:
        """The short names of a case's events, in the order of the journal."""
        rows = self.rows(subsystem, "SELECT type FROM journal WHERE case_id = ? ORDER BY position", case_id)
        return [name.rpartition(".")[2] for (name,) in rows]


def spawn(data: Path, port_base: int = 0) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "servers.mesh", "--data", str(data), "--port-base", str(port_base)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def running_mesh(data: Path) -> Iterator[Mesh]:
    """A mesh on free ports, until the block is left."""
    with starting_mesh(data) as mesh:
        mesh.addresses = addresses(mesh)
        yield mesh


@contextmanager
def starting_mesh(data: Path, port_base: int = 0) -> Iterator[Mesh]:
    """A mesh that has just been started, until the block is left."""
    mesh = Mesh(data, spawn(data, port_base))
    try:
        yield mesh
    finally:
        if mesh.process.poll() is None:
            mesh.stop()


def addresses(mesh: Mesh) -> Mapping[str, str]:
    """Where everything listens, once all of it is ready."""
    endpoints, end = mesh.data / "run" / "endpoints.json", time.monotonic() + START_SECONDS
    while not endpoints.exists():
        assert mesh.process.poll() is None, mesh.process.communicate()[1]
        assert time.monotonic() < end, "the mesh was not ready in time"
        time.sleep(0.05)
    return {name: entry["address"] for name, entry in json.loads(endpoints.read_text()).items()}


def _children(parent: int) -> list[int]:
    """From /proc: the endpoints file has the processes of the start."""
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


# --- parties that outlast a restart: they repeat a call that got no answer, with the same request id ---


class _Patient(SubsystemClient):
    async def _call(self, method: Any, request: Any, seconds: float | None = None) -> Any:
        request, end = completed(request), time.monotonic() + PATIENCE
        while True:
            try:
                return await super()._call(method, request, seconds)
            except (Unavailable, DeadlineExceeded):
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.2)


class PatientIntake(_Patient, IntakeClient):
    """A terminal or an intake system."""


class PatientDepartment(_Patient, DepartmentClient):
    """An organ's back office."""


# --- cases that follow the demo's plans ---


def stories(desks: Sequence[Desk], endings: Iterable[Ending]) -> list[Story]:
    """One story for each ending, at the desks in turn."""
    applicants = Applicants(uuid4().hex[:12].upper())
    return [
        Story(number, desk := desks[number % len(desks)], ending, applicants.application(desk))
        for number, ending in enumerate(endings, 1)
    ]


async def play(mesh: Mesh, told: Sequence[Story], progress: Callable[[Story], None] = lambda story: None) -> None:
    """Play them all; each must end as planned."""
    async with AsyncExitStack() as stack:
        terminal = await stack.enter_async_context(mesh.intake())
        receiver = await stack.enter_async_context(mesh.intake(INTAKE))
        organs: dict[str, DepartmentClient] = {
            organ: await stack.enter_async_context(mesh.department(organ))
            for organ in {story.desk.organ.id for story in told}
        }
        await Director(terminal, receiver, organs).play(told, progress)
    assert [(story.number, story.ending.name, story.problem) for story in told if story.problem] == []


async def all_acknowledged(mesh: Mesh, story: Story) -> None:
    """Take what the story's parties left in their inboxes when it ended."""

    async def is_done() -> bool:
        left = [
            mesh.rows(name, "SELECT count(*) FROM inbox WHERE case_id = ? AND acknowledged_at IS NULL", story.case_id)
            for name in SUBSYSTEMS
        ]
        return left == [[(0,)]] * 3

    async with counter(mesh, story.desk) as here, here.listening():
        await until(is_done, "everything is acknowledged")


def planned(story: Story) -> list[str]:
    """Every event of the case, sorted: events of different owners may stand in different orders in different places."""
    return sorted([*SAID_BY_INTAKE.get(story.ending, ("Submitted",)), *story.ending.value.facts])


def assert_nothing_doubled(mesh: Mesh, told: Sequence[Story]) -> None:
    """Every journal holds exactly the planned events of each case, and each of them once."""
    for name in SUBSYSTEMS:
        ((all_rows, ids),) = mesh.rows(name, "SELECT count(*), count(DISTINCT event_id) FROM journal")
        assert all_rows == ids, name
        for story in told:
            assert sorted(mesh.recorded(name, story.case_id)) == planned(story), (name, story.ending, story.case_id)


async def assert_journals_are_whole(mesh: Mesh) -> None:
    """Every journal's hash chain holds."""
    for name in SUBSYSTEMS:
        async with mesh.client(name, OPERATOR) as client:
            found = await client.operations.verify_journal(VerifyJournalRequest())
        assert found.finished, name
        assert not found.HasField("fault"), f"{name}: {found.fault.position} {found.fault.description}"


async def case_at(mesh: Mesh, subsystem: str, case_id: str, identity: Identity = AUDITOR) -> case_pb2.Case:
    """The case as a subsystem shows it."""
    async with mesh.client(subsystem, identity) as client:
        return (await client.cases.get_case(cases.GetCaseRequest(case_id=case_id))).case


async def replay(mesh: Mesh, subsystem: str, receiver: Identity) -> list[Event]:
    """Everything an inbox ever held, from its first item on."""
    rows = mesh.rows(subsystem, "SELECT last_sequence FROM receiver WHERE name = ?", str(receiver))
    last: int = rows[0][0] if rows else 0
    events: list[Event] = []
    async with mesh.client(subsystem, receiver) as client:
        while len(events) < last:
            # Leaving the loop closes the stream.
            async for item in client.inbox(credit=1000, from_sequence=1):
                events.append(item.event)
                await item.ack()
                if len(events) == last:
                    break
    return events


def short_name(event: Event) -> str:
    return event.fact.type_url.rpartition(".")[2]


async def until(holds: Callable[[], Awaitable[bool] | bool], what: str, seconds: float = 60.0) -> None:
    """Look until it holds."""
    end = time.monotonic() + seconds
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(0.05)


# --- one case, step by step ---


@dataclass(eq=False)
class Counter:
    """One desk: its terminal, its organ, and the cases between them."""

    mesh: Mesh
    desk: Desk
    terminal: IntakeClient
    organ: DepartmentClient

    def application(self, **fields: Any) -> intake.SubmitApplicationRequest:
        """A new application for this desk."""
        request = Applicants(uuid4().hex[:12].upper()).application(self.desk)
        request.MergeFrom(intake.SubmitApplicationRequest(**fields))
        return completed(request)

    async def submit(self, **fields: Any) -> intake.SubmitApplicationResponse:
        return await self.terminal.submit_application(self.application(**fields))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """The organ and the intake system take what their inboxes have, at once."""
        async with self.mesh.client("intake", INTAKE) as receiver:
            tasks = [asyncio.create_task(_acknowledge(client)) for client in (self.organ, receiver)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def delivered(self, case_id: str) -> None:
        """Return when the organ sees the case."""
        await until(lambda: self.sees(case_id), "the organ sees the case")

    async def sees(self, case_id: str) -> bool:
        try:
            await self.organ.cases.get_case(cases.GetCaseRequest(case_id=case_id))
        except NotFound:
            return False
        return True

    async def accept(self, case_id: str, **fields: Any) -> department.AcceptApplicationResponse:
        fields.setdefault("none", department.AcceptApplicationRequest.NoCollaboration(reason="无需其他部门协同"))
        return await self.organ.accept_application(
            department.AcceptApplicationRequest(case_id=case_id, actor=OFFICER, **fields)
        )

    async def correct(self, case_id: str, **fields: Any) -> department.RequestCorrectionResponse:
        defects = [department.Defect(subject="申请表", defect="未签字", required="补签后的申请表", basis="第三十二条")]
        return await self.organ.request_correction(
            department.RequestCorrectionRequest(case_id=case_id, actor=OFFICER, defects=defects, **fields)
        )

    async def supplement(self, case_id: str, notice: str, **fields: Any) -> None:
        await self.terminal.supplement_application(
            intake.SupplementApplicationRequest(
                case_id=case_id,
                notice_number=notice,
                actor=self.application().actor,
                answers=[case_pb2.LineAnswer(line=1, text="已补签")],
                **fields,
            )
        )

    async def deny(self, case_id: str) -> None:
        """Decide on the case as it stands now, and close it."""
        case = (await self.organ.cases.get_case(cases.GetCaseRequest(case_id=case_id))).case
        request = department.DecideApplicationRequest(case_id=case_id, actor=OFFICER, if_version=case.version)
        request.denied.reasons.append("不符合法定条件")
        request.denied.remedies = REMEDIES
        await self.organ.decide_application(request)
        await self.organ.close_case(department.CloseCaseRequest(case_id=case_id, actor=OFFICER))

    async def finish(self, case_id: str) -> None:
        """Bring the case to its end, and wait until intake knows."""
        await self.delivered(case_id)
        await self.accept(case_id)
        await self.deny(case_id)
        await self.at_intake(case_id, case_pb2.STATE_CLOSED)

    async def at_intake(self, case_id: str, state: "case_pb2.State.ValueType") -> None:
        """Return when intake knows the case in this state."""
        await self._intake_knows(case_id, lambda case: case.state == state)

    async def noticed(self, case_id: str, number: str) -> None:
        """Return when intake knows the correction notice."""
        await self._intake_knows(case_id, lambda case: case.open_notice == number)

    async def supplemented(self, case_id: str) -> None:
        """Return when intake knows that the lead has the supplement."""
        await self._intake_knows(case_id, lambda case: "SupplementReceived" in self.mesh.recorded("intake", case_id))

    async def _intake_knows(self, case_id: str, holds: Callable[[case_pb2.Case], bool]) -> None:
        async def reached() -> bool:
            answer = await self.terminal.get_application(intake.GetApplicationRequest(case_id=case_id))
            return holds(answer.case)

        await until(reached, "intake knows", PATIENCE)


@asynccontextmanager
async def counter(mesh: Mesh, desk: Desk) -> AsyncIterator[Counter]:
    """The desk's two parties, connected."""
    async with mesh.intake() as terminal, mesh.department(desk.organ.id) as organ:
        yield Counter(mesh, desk, terminal, organ)


async def _acknowledge(client: SubsystemClient) -> None:
    async for item in client.inbox():
        await item.ack()


def at(moment: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(moment.astimezone(UTC))
    return found


def contains(message: Message | grpc.aio.AioRpcError | str | bytes, mark: str) -> bool:
    """Whether a mark stands anywhere in it, plain or as JSON writes it."""
    content = message.SerializeToString() if isinstance(message, Message) else message
    text = content if isinstance(content, bytes) else str(content).encode()
    return mark.encode() in text or json.dumps(mark)[1:-1].encode() in text
