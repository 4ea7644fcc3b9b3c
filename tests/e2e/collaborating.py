"""A case that asks others, step by step, on a mesh: its lead, those who are asked, and the centers between them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from clients.errors import NotFound
from clients.governance import GovernanceClient
from clients.identity import Identity
from clients.subsystem import SubsystemClient
from ronghe.case.v1 import case_pb2
from ronghe.case.v1 import case_service_pb2 as cases
from ronghe.catalog.v1.catalog_pb2 import Place
from ronghe.collaboration.v1 import collaboration_service_pb2 as pb
from ronghe.collaboration.v1.collaboration_pb2 import Answer, Collaboration, Task
from ronghe.intake.v1 import intake_service_pb2 as intake
from tests import builders
from tests.e2e.drive import PATIENCE, TERMINAL, Mesh, PatientDepartment, PatientIntake, until

LEAD = "urban-mgmt-500103"
HERE, THERE = "500103003", "500106001"
"""A town of the lead's district, and one of another."""
POLICE, POLICE_THERE = "traffic-police-500103", "traffic-police-500106"
TOWN, TOWN_THERE = f"town-gov-{HERE}", f"town-gov-{THERE}"
ASKED = (POLICE, POLICE_THERE, TOWN, TOWN_THERE)
RULES = ("traffic-police", "town-gov")
WAY = (HERE, "500103", "500000", "500106", THERE)
"""The centers through which the tasks go to them."""


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(eq=False)
class Table:
    """Everybody connected, as they are needed."""

    mesh: Mesh
    stack: AsyncExitStack
    clients: dict[str, Any] = field(default_factory=dict)

    async def _client(self, name: str, client: SubsystemClient) -> Any:
        if name not in self.clients:
            self.clients[name] = await self.stack.enter_async_context(client)
        return self.clients[name]

    async def organ(self, organ_id: str) -> PatientDepartment:
        """An organ at the department server."""
        client: PatientDepartment = await self._client(f"organ/{organ_id}", self.mesh.department(organ_id))
        return client

    async def terminal(self) -> PatientIntake:
        client: PatientIntake = await self._client(str(TERMINAL), self.mesh.intake())
        return client

    async def at_governance(self, identity: Identity) -> GovernanceClient:
        """Anybody at the governance server."""
        client = GovernanceClient(self.mesh.addresses["governance"], self.mesh.pki, identity)
        found: GovernanceClient = await self._client(f"governance {identity}", client)
        return found

    async def center(self, center_id: str) -> GovernanceClient:
        return await self.at_governance(Identity("center", center_id))

    # --- the case ---

    async def submitted(self, request: intake.SubmitApplicationRequest, lead: str = LEAD) -> str:
        """A case that its lead sees."""
        case_id = (await (await self.terminal()).submit_application(request)).case_id

        async def is_seen() -> bool:
            try:
                await self.case(case_id, lead)
            except NotFound:
                return False
            return True

        await until(is_seen, "the lead sees the case", PATIENCE)
        return case_id

    async def accepted(self, *places: str) -> str:
        """Road works at these places, accepted as the catalog proposes."""
        where = [Place(division=place) for place in places or (HERE, THERE)]
        case_id = await self.submitted(builders.submission(now(), places=where))
        command = builders.acceptance(case_id, now(), as_proposed=builders.as_proposed())
        await (await self.organ(LEAD)).accept_application(command)
        return case_id

    async def case(self, case_id: str, lead: str = LEAD) -> case_pb2.Case:
        """As its lead sees it."""
        client = await self.organ(lead)
        return (await client.cases.get_case(cases.GetCaseRequest(case_id=case_id))).case

    async def at_intake(self, case_id: str, state: "case_pb2.State.ValueType") -> case_pb2.Case:
        """Return when intake knows the case in this state."""
        terminal = await self.terminal()
        found = case_pb2.Case()

        async def is_reached() -> bool:
            found.CopyFrom((await terminal.get_application(intake.GetApplicationRequest(case_id=case_id))).case)
            return found.state == state

        await until(is_reached, "intake knows", PATIENCE)
        return found

    # --- its collaborations ---

    async def ask(self, case_id: str, *rules: str, lead: str = LEAD, **fields: Any) -> str:
        """The id of a collaboration that the lead asks for."""
        command = builders.asking(case_id, now(), *(rules or RULES), **fields)
        return (await (await self.organ(lead)).collaborations.request_collaboration(command)).collaboration_id

    async def collaboration(self, collaboration_id: str, lead: str = LEAD) -> Collaboration:
        """As its lead sees it."""
        client = await self.organ(lead)
        request = pb.GetCollaborationRequest(collaboration_id=collaboration_id)
        return (await client.collaborations.get_collaboration(request)).collaboration

    async def is_in(
        self, collaboration_id: str, state: "Collaboration.State.ValueType", lead: str = LEAD
    ) -> Collaboration:
        """Return when the lead knows the collaboration in this state, and its case as well."""
        found = Collaboration()

        async def is_reached() -> bool:
            found.CopyFrom(await self.collaboration(collaboration_id, lead))
            return found.state == state

        await until(is_reached, f"the collaboration is {Collaboration.State.Name(state)}", PATIENCE)
        return found

    async def task(self, organ_id: str, collaboration_id: str) -> Task:
        """Return when the organ has its task."""
        tasks: list[Task] = []

        async def is_there() -> bool:
            tasks[:] = [task for task in await self.tasks(organ_id) if task.collaboration_id == collaboration_id]
            return bool(tasks)

        await until(is_there, f"{organ_id} has its task", PATIENCE)
        return tasks[0]

    async def tasks(self, organ_id: str) -> Sequence[Task]:
        client = await self.organ(organ_id)
        return (await client.collaborations.list_tasks(pb.ListTasksRequest(page_size=500))).tasks

    async def task_is_in(self, organ_id: str, collaboration_id: str, state: "Task.State.ValueType") -> Task:
        """Return when the organ's task is in this state."""

        async def is_reached() -> bool:
            return (await self.task(organ_id, collaboration_id)).state == state

        await until(is_reached, f"the task of {organ_id} is {Task.State.Name(state)}", PATIENCE)
        return await self.task(organ_id, collaboration_id)

    async def answer(
        self, organ_id: str, collaboration_id: str, opinion: int = Answer.OPINION_AGREE, text: str = "已核"
    ) -> None:
        """Sign for it, and answer."""
        task, client = await self.task(organ_id, collaboration_id), await self.organ(organ_id)
        await client.collaborations.sign_for_task(builders.signing(task.task_id, now()))
        command = builders.answering(task, now(), opinion)
        command.answer.text = text
        await client.collaborations.answer_task(command)

    async def decide(self, case_id: str, lead: str = LEAD) -> case_pb2.Case:
        """Grant, citing every collaboration, and close; return when intake knows."""
        case, client = await self.case(case_id, lead), await self.organ(lead)
        grant = builders.grant(case_id, now(), case.version, citations=builders.cite(case))
        await client.decide_application(grant)
        await client.close_case(builders.closing(case_id, now()))
        return await self.at_intake(case_id, case_pb2.STATE_CLOSED)


@asynccontextmanager
async def seated(mesh: Mesh) -> AsyncIterator[Table]:
    """A table; everybody leaves it at the end."""
    async with AsyncExitStack() as stack:
        yield Table(mesh, stack)
