"""The programs of examples/ as back offices of a mesh, built as docs/integrators.md says; and what that guide lists."""

import asyncio
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration

from clients.demo.plan import Desk
from clients.identity import Identity
from ronghe.case.v1 import case_pb2
from ronghe.document.v1.document_service_pb2 import GetDocumentRequest
from ronghe.event.v1.event_pb2 import CorrectionRequested, Event
from ronghe.inbox.v1 import inbox_service_pb2 as inbox
from ronghe.intake.v1 import intake_service_pb2 as intake
from ronghe.party.v1.party_pb2 import Actor
from servers.rpc.errors import TABLE, reason_name
from tests.e2e.drive import INTAKE, Counter, Mesh, case_at, counter, short_name, until

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES, STAMPS = ROOT / "examples", ROOT / ".cache" / "examples"
GUIDE = ROOT / "docs" / "integrators.md"
MADE = {"gen", "target", "node_modules", "dist", "organ"}
BUF = Path(sys.executable).parent / "buf"
# A server that is killed again and again is back after half a minute, and a library looks for it rarely by then.
BUILD_SECONDS, RUN_SECONDS, CASES = 600, 120, 3
FACTS = ["Submitted", "Accepted", "StepRecorded", "Decided", "Closed"]


@dataclass(frozen=True)
class Program:
    """How a program is built and run, in its folder."""

    language: str
    tools: Sequence[str]
    build: Sequence[Sequence[str]]
    run: Sequence[str]
    product: str

    @property
    def folder(self) -> Path:
        return EXAMPLES / self.language


PROGRAMS = [
    Program("python", (), (), (sys.executable, "organ.py"), "organ.py"),
    Program("go", ("go",), ((str(BUF), "generate"), ("go", "build", "-o", "organ", ".")), ("./organ",), "organ"),
    Program(
        "java",
        ("mvn", "java"),
        (("mvn", "--quiet", "--batch-mode", "package", f"-Dbuf={BUF}"),),
        ("java", "-jar", "target/organ-1.jar"),
        "target/organ-1.jar",
    ),
    Program(
        "typescript",
        ("npm", "node"),
        (("npm", "ci", "--silent"), (str(BUF), "generate"), ("npm", "run", "--silent", "build")),
        ("node", "dist/organ.js"),
        "dist/organ.js",
    ),
]


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.language)
def program(request: pytest.FixtureRequest) -> Program:
    """One of the programs, built; it is built again only when it or the contract has changed."""
    found: Program = request.param
    if missing := [tool for tool in found.tools if shutil.which(tool) is None]:
        if os.environ.get("RONGHE_REQUIRE_TOOLCHAINS"):
            pytest.fail(f"RONGHE_REQUIRE_TOOLCHAINS is set, and {', '.join(missing)} is not installed")
        pytest.skip(f"{', '.join(missing)} is not installed")
    stamp, digest = STAMPS / found.language, _digest(found)
    if not (found.folder / found.product).exists() or not stamp.exists() or stamp.read_text() != digest:
        for command in found.build:
            done = subprocess.run(command, cwd=found.folder, capture_output=True, text=True, timeout=BUILD_SECONDS)
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        STAMPS.mkdir(parents=True, exist_ok=True)
        stamp.write_text(digest)
    return found


@pytest.fixture
async def here(mesh: Mesh, desks: Sequence[Desk]) -> AsyncIterator[Counter]:
    """A desk for an item about which nobody else is asked; its organ's inbox is empty."""
    async with counter(mesh, next(desk for desk in desks if not desk.item.collaborators)) as opened:
        while items := await _waiting(opened):
            await opened.organ.ack_inbox(inbox.AckInboxRequest(sequences=[item.sequence for item in items]))
        yield opened


@pytest.mark.timeout(BUILD_SECONDS + 2 * RUN_SECONDS)
async def test_an_organ_in_any_language_survives_its_own_death_and_that_of_the_server(
    mesh: Mesh, program: Program, here: Counter
) -> None:
    cases = [(await here.submit()).case_id for _ in range(CASES - 1)]

    async with running(mesh, program, here.desk) as first:
        await first.says("accepted")
        first.process.kill()
    async with running(mesh, program, here.desk) as second:
        await second.says("granted")
        mesh.signal("department", signal.SIGKILL)
        for _ in cases:
            await second.says("closed")
        cases.append((await here.submit()).case_id)
        assert await second.ends() == 0, second.told()

    for case_id in cases:
        await here.at_intake(case_id, case_pb2.STATE_CLOSED)
        assert (await case_at(mesh, "intake", case_id)).outcome == case_pb2.OUTCOME_GRANTED
        assert mesh.recorded("department", case_id) == FACTS
    assert not await _waiting(here)


async def test_the_application_of_the_guide_is_taken_once(mesh: Mesh) -> None:
    request = json_format.Parse((EXAMPLES / "application.json").read_text(), intake.SubmitApplicationRequest())

    async with mesh.intake() as terminal:
        first = await terminal.submit_application(request)
        assert await terminal.submit_application(request) == first

    assert mesh.recorded("intake", first.case_id) == ["Submitted"]


def test_the_guide_lists_every_reason_with_its_code_and_no_other() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([A-Z_]+) \| \S.* \|$", GUIDE.read_text(), re.MULTILINE)

    assert sorted(rows) == sorted((reason_name(reason), row.code.name) for reason, row in TABLE.items() if reason)


async def test_the_intake_system_of_the_guide_listens_answers_a_notice_and_withdraws(mesh: Mesh, here: Counter) -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    kept: list[Event] = []
    shown: list[str] = []
    code: dict[str, Any] = {
        "Actor": Actor,
        "CorrectionRequested": CorrectionRequested,
        "Event": Event,
        "GetDocumentRequest": GetDocumentRequest,
        "Identity": Identity,
        "IntakeClient": lambda address, pki, identity: mesh.intake(identity),
        "LineAnswer": case_pb2.LineAnswer,
        "Path": Path,
        "RequestWithdrawalRequest": intake.RequestWithdrawalRequest,
        "SupplementApplicationRequest": intake.SupplementApplicationRequest,
        "ask": lambda line: f"已补：{line.required}",
        "keep": kept.append,
        "show": shown.append,
    }
    exec(source, code)  # noqa: S102 - the guide's own
    case_id, actor = (await here.submit()).case_id, here.application().actor

    async def told(name: str) -> Event:
        await until(lambda: any(event.case_id == case_id and short_name(event) == name for event in kept), name)
        return next(event for event in kept if event.case_id == case_id and short_name(event) == name)

    listening = asyncio.create_task(code["listen"]())
    try:
        await here.delivered(case_id)
        await here.correct(case_id)
        async with mesh.intake(INTAKE) as system:
            await code["supplement"](system, await told("CorrectionRequested"), actor)
            await told("SupplementReceived")
            await code["withdraw"](system, case_id, actor, "不再办理")
            await told("Withdrawn")
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    assert ["补正" in text for text in shown] == [True]
    assert (await case_at(mesh, "intake", case_id)).outcome == case_pb2.OUTCOME_WITHDRAWN


# --- a program at work ---


@dataclass(eq=False)
class Running:
    """What a program says, until it ends."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)

    async def says(self, word: str) -> None:
        """Return with the first line that has the word."""
        async with asyncio.timeout(RUN_SECONDS):
            while word not in (line := await self._next()):
                assert line, self.told()

    async def ends(self) -> int:
        async with asyncio.timeout(RUN_SECONDS):
            while await self._next():
                pass
            return await self.process.wait()

    def told(self) -> str:
        return "\n".join(self.lines)

    async def _next(self) -> str:
        """The next line; empty at the end."""
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode()
        self.lines += [line.rstrip()] if line else []
        return line


@asynccontextmanager
async def running(mesh: Mesh, program: Program, desk: Desk) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        *program.run,
        *(mesh.addresses["department"], str(mesh.pki), desk.organ.id, str(CASES)),
        cwd=program.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _waiting(desk: Counter) -> Sequence[inbox.InboxItem]:
    return (await desk.organ.fetch_inbox(inbox.FetchInboxRequest(wait=Duration(nanos=100_000_000)))).items


def _digest(program: Program) -> str:
    total = hashlib.sha256()
    for path in [*_sources(program.folder), *sorted((ROOT / "proto" / "ronghe").rglob("*.proto"))]:
        total.update(path.read_bytes())
    return total.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    """What is not made by the build."""
    for path in sorted(folder.iterdir()):
        if path.name not in MADE:
            yield from [path] if path.is_file() else (each for each in sorted(path.rglob("*")) if each.is_file())
